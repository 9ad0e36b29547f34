// The AWS SDK for Java as an application has it: the default chain, nothing about credentials. A line on stdin is a
// question; the answer is the ARN that STS knows this process by, or why there is none.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import software.amazon.awssdk.services.sts.StsClient;

public class Client {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        try (var sts = StsClient.create()) {
            while (lines.readLine() != null) {
                try {
                    System.out.println(sts.getCallerIdentity().arn());
                } catch (RuntimeException error) {
                    System.out.println(("error: " + error).replace('\n', ' '));
                }
            }
        }
    }
}
