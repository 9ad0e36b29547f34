# The role that imds-agent has on the instance, and the little that it may do.
resource "aws_iam_role" "imds_agent" {
  name = "imds-agent"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          Service = "ec2.amazonaws.com"
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
        Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/ollama-chat-prod:*"
      },
      {
        Sid      = "SetRetention"
        Effect   = "Allow"
        Action   = "logs:PutRetentionPolicy"
        Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/ec2/ollama-chat-prod:*"
      },
      {
        Sid      = "LookAtGroups"
        Effect   = "Allow"
        Action   = "logs:DescribeLogGroups"
        Resource = "arn:aws:logs:eu-west-1:123456789012:log-group:*"
      },
    ]
  })
}

resource "aws_iam_instance_profile" "imds_agent" {
  name = "imds-agent"
  role = aws_iam_role.imds_agent.name
}
