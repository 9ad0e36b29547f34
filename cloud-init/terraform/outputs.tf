# What others name: instances the profile or the template, further policies the role.

output "role_arn" {
  description = "The role's ARN."
  value       = aws_iam_role.agent.arn
}

output "instance_profile_name" {
  description = "The instance profile's name, for instances that don't use the launch template."
  value       = aws_iam_instance_profile.agent.name
}

output "launch_template_id" {
  description = "The launch template's id."
  value       = aws_launch_template.agent.id
}

output "policy_json" {
  description = "The policy, for roles that exist already."
  value       = data.aws_iam_policy_document.agent.json
}
