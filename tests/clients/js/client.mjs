// The AWS SDK for JavaScript as an application has it: the default chain, nothing about credentials. A line on stdin is
// a question; the answer is the ARN that STS knows this process by, or why there is none.
import { createInterface } from "node:readline";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const sts = new STSClient({});
for await (const _ of createInterface({ input: process.stdin })) {
  try {
    console.log((await sts.send(new GetCallerIdentityCommand({}))).Arn);
  } catch (error) {
    console.log(`error: ${error}`.replaceAll("\n", " "));
  }
}
