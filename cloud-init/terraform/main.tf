# The role that imds-agent needs, its instance profile, and a launch template whose instances run the agent. Not the
# instances, and not the log groups: the agent creates those.

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  arn    = "arn:${data.aws_partition.current.partition}:logs:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:log-group"
  groups = [for group in var.log_groups : "${local.arn}:${group}"]
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "agent" {
  # The actions on a group; IAM is shown its ARN with or without a `:…` behind the name.
  statement {
    sid       = "Groups"
    actions   = concat(["logs:CreateLogGroup", "logs:CreateLogStream"], var.set_retention ? ["logs:PutRetentionPolicy"] : [])
    resources = concat(local.groups, [for group in local.groups : "${group}:*"])
  }

  statement {
    sid       = "Events"
    actions   = ["logs:PutLogEvents"]
    resources = [for group in local.groups : "${group}:log-stream:*"]
  }

  # Reads what the retention is before it sets it. This action can't be scoped to a group.
  dynamic "statement" {
    for_each = var.set_retention ? [true] : []

    content {
      sid       = "Retention"
      actions   = ["logs:DescribeLogGroups"]
      resources = ["${local.arn}:*"]
    }
  }

  # For [[role]] tables, some of which carry tags or a source identity.
  dynamic "statement" {
    for_each = length(var.assume_role_arns) > 0 ? [true] : []

    content {
      sid       = "Roles"
      actions   = ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"]
      resources = var.assume_role_arns
    }
  }
}

resource "aws_iam_role" "agent" {
  name                 = var.name
  description          = "For EC2 instances whose logs imds-agent ships"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary
}

resource "aws_iam_role_policy" "agent" {
  name   = var.name
  role   = aws_iam_role.agent.id
  policy = data.aws_iam_policy_document.agent.json
}

resource "aws_iam_role_policy_attachment" "further" {
  for_each   = var.policy_arns
  role       = aws_iam_role.agent.name
  policy_arn = each.value
}

resource "aws_iam_instance_profile" "agent" {
  name = var.name
  role = aws_iam_role.agent.name
}

resource "aws_launch_template" "agent" {
  name_prefix            = "${var.name}-"
  description            = "Runs imds-agent"
  image_id               = var.image_id
  user_data              = filebase64(coalesce(var.user_data, "${path.module}/../user-data.yaml"))
  update_default_version = true

  iam_instance_profile {
    arn = aws_iam_instance_profile.agent.arn
  }

  # IMDSv2 only. Its answers stop at the instance: containers behind it get no credentials of the instance.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "enabled"
  }

  dynamic "tag_specifications" {
    for_each = length(var.instance_tags) > 0 ? [true] : []

    content {
      resource_type = "instance"
      tags          = var.instance_tags
    }
  }
}
