output "supervisor_instance_profile" {
  description = "The instance profile of the machine that the supervisor runs on."
  value       = aws_iam_instance_profile.supervisor.name
}

output "supervisor_security_group" {
  description = "The security group of the machine that the supervisor runs on."
  value       = aws_security_group.supervisor.id
}

output "ec2" {
  description = "The block `ec2` of supervisor.yaml."
  value = yamlencode({
    ec2 = merge(
      {
        region           = data.aws_region.current.name
        subnets          = var.subnet_ids
        security_groups  = [aws_security_group.worker.id]
        instance_profile = aws_iam_instance_profile.worker.name
      },
      var.code_bucket == null ? {} : { code_delivery = "s3", bucket = "s3://${var.code_bucket}" },
    )
  })
}
