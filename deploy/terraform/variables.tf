variable "installation" {
  description = "The name of the installation, as in supervisor.yaml: the mark on every machine."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9_-]{0,62}$", var.installation))
    error_message = "A lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -."
  }
}

variable "vpc_id" {
  description = "The VPC in which supervisor and machines are."
  type        = string
}

variable "subnet_ids" {
  description = "The subnets of machines; written to the supervisor's settings."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "At least one subnet."
  }
}

variable "people_cidrs" {
  description = "From where people reach REST (port 8443)."
  type        = list(string)
  default     = []
}

variable "data_bucket" {
  description = "The bucket that jobs read and write."
  type        = string
}

variable "code_bucket" {
  description = "The name of a bucket to make for code, for code_delivery: s3; null makes none."
  type        = string
  default     = null
}

variable "session_manager" {
  description = "Whether people may open a shell on machines by SSM Session Manager."
  type        = bool
  default     = false
}
