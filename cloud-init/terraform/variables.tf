# What can be set. Only `log_groups` has to be.

variable "name" {
  description = "Name of the role, the instance profile and the policy, and the beginning of the launch template's."
  type        = string
  default     = "imds-agent"
}

variable "log_groups" {
  description = "The log groups of the agent's configuration, as in \"/aws/ec2/prod\". `*` stands for any text: \"/aws/ec2/app/*\"."
  type        = list(string)

  validation {
    condition     = length(var.log_groups) > 0 && alltrue([for group in var.log_groups : can(regex("^[-._/#A-Za-z0-9*]{2,512}$", group))])
    error_message = "Name at least one group, without braces: letters, digits, and . - _ / # *."
  }
}

variable "set_retention" {
  description = "Whether the configuration says `retention_in_days`."
  type        = bool
  default     = true
}

variable "assume_role_arns" {
  description = "The roles of the configuration's [[role]] tables; each must trust this role, too."
  type        = list(string)
  default     = []
}

variable "policy_arns" {
  description = "Further policies of the role, for what else is on the instance, by any key. The agent needs none."
  type        = map(string)
  default     = {}
}

variable "permissions_boundary" {
  description = "The role's permissions boundary, where the account demands one."
  type        = string
  default     = null
}

variable "image_id" {
  description = "The launch template's image. It may be left to whoever uses the template."
  type        = string
  default     = null
}

variable "user_data" {
  description = "A file of user data for the launch template; cloud-init/user-data.yaml if not set."
  type        = string
  default     = null
}

variable "instance_tags" {
  description = "The tags of instances. The configuration may name them: {tag:LogGroup}. Keys without blanks and slashes."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.instance_tags) : can(regex("^[-+=.,_:@A-Za-z0-9]{1,128}$", key))])
    error_message = "EC2 shows tags in the metadata only if their keys hold nothing but letters, digits and + - = . , _ : @."
  }
}
