# Roles, security groups and, if wanted, a bucket for one installation of Data Runner. VPC and subnets are taken as they
# are. The policies are those of ../iam, with the names of this installation in place of the words in capitals.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_caller_identity" "current" {}

data "aws_region" "current" {}

locals {
  name = "data-runner-${var.installation}"
  tags = { "data-runner:installation" = var.installation }

  supervisor_policy = replace(replace(replace(replace(
    file("${path.module}/../iam/supervisor.json"),
    "REGION", data.aws_region.current.name),
    "ACCOUNT_ID", data.aws_caller_identity.current.account_id),
    "INSTALLATION", var.installation),
  "WORKER_ROLE", aws_iam_role.worker.name)

  worker_policy = replace(replace(replace(
    file("${path.module}/../iam/worker.json"),
    "REGION", data.aws_region.current.name),
    "ACCOUNT_ID", data.aws_caller_identity.current.account_id),
  "DATA_BUCKET", var.data_bucket)
}

resource "aws_iam_role" "supervisor" {
  name               = "${local.name}-supervisor"
  assume_role_policy = file("${path.module}/../iam/ec2-trust.json")
}

resource "aws_iam_role_policy" "supervisor" {
  name   = "machines"
  role   = aws_iam_role.supervisor.id
  policy = local.supervisor_policy
}

resource "aws_iam_instance_profile" "supervisor" {
  name = "${local.name}-supervisor"
  role = aws_iam_role.supervisor.name
}

resource "aws_iam_role" "worker" {
  name               = "${local.name}-worker"
  assume_role_policy = file("${path.module}/../iam/ec2-trust.json")
}

resource "aws_iam_role_policy" "worker" {
  name   = "jobs"
  role   = aws_iam_role.worker.id
  policy = local.worker_policy
}

resource "aws_iam_role_policy_attachment" "session_manager" {
  count      = var.session_manager ? 1 : 0
  role       = aws_iam_role.worker.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "worker" {
  name = "${local.name}-worker"
  role = aws_iam_role.worker.name
}

# Machines need no inbound port at all: they dial the supervisor.
resource "aws_security_group" "worker" {
  name        = "${local.name}-worker"
  description = "Machines of Data Runner: nothing in, everything out"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "worker" {
  security_group_id = aws_security_group.worker.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_security_group" "supervisor" {
  name        = "${local.name}-supervisor"
  description = "The supervisor of Data Runner: machines on 7443 and 8443, people on 8443"
  vpc_id      = var.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "supervisor" {
  security_group_id = aws_security_group.supervisor.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "machines" {
  for_each                     = toset(["7443", "8443"])
  security_group_id            = aws_security_group.supervisor.id
  referenced_security_group_id = aws_security_group.worker.id
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.value)
  to_port                      = tonumber(each.value)
}

resource "aws_vpc_security_group_ingress_rule" "people" {
  for_each          = toset(var.people_cidrs)
  security_group_id = aws_security_group.supervisor.id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 8443
  to_port           = 8443
}

resource "aws_s3_bucket" "code" {
  count  = var.code_bucket == null ? 0 : 1
  bucket = var.code_bucket
  tags   = local.tags
}

resource "aws_s3_bucket_public_access_block" "code" {
  count                   = length(aws_s3_bucket.code)
  bucket                  = aws_s3_bucket.code[count.index].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_iam_role_policy" "code" {
  count  = length(aws_s3_bucket.code)
  name   = "code"
  role   = aws_iam_role.supervisor.id
  policy = replace(file("${path.module}/../iam/supervisor-bucket.json"), "BUCKET", aws_s3_bucket.code[count.index].id)
}
