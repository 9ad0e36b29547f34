# boto3 as an application has it: the default chain, nothing about credentials. A line on stdin is a question; the answer
# is the ARN that STS knows this process by, or why there is none.
import sys

import boto3

sts = boto3.client("sts")
for _ in sys.stdin:
    try:
        print(sts.get_caller_identity()["Arn"], flush=True)
    except Exception as error:  # whatever it is, it is the answer
        print("error:", str(error).replace("\n", " "), flush=True)
