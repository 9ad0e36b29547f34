# The role that imds-agent has on the instance, and the little that it may do.
resource "aws_iam_role" "imds_agent" {
  name = "imds-agent"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          Service = "ecs-tasks.amazonaws.com"
        }
        Action = "sts:AssumeRole"
      },
    ]
  })
}

resource "aws_iam_role_policy" "imds_agent" {
  name = "imds-agent"
  role = aws_iam_role.imds_agent.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "WriteLogs"
        Effect = "Allow"
        Action = [
          "logs:CreateLogGroup",
          "logs:CreateLogStream",
          "logs:PutLogEvents",
        ]
        Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/app:*"
      },
      {
        Sid      = "AssumeRoles"
        Effect   = "Allow"
        Action   = "sts:AssumeRole"
        Resource = "arn:aws:iam::123456789012:role/app-data"
      },
    ]
  })
}

# What the trust policies of the roles that it assumes must say: assume_role_policy = local.imds_agent_trust["NAME"]
locals {
  imds_agent_trust = {
    "app" = jsonencode({
      Version = "2012-10-17"
      Statement = [
        {
          Effect = "Allow"
          Principal = {
            AWS = aws_iam_role.imds_agent.arn
          }
          Action = "sts:AssumeRole"
        },
      ]
    })
  }
}
