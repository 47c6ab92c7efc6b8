import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.Executors;

/**
 * A service in Java between two in Python, with nothing but the JDK: it answers what came to it and what the next one
 * said. Nothing in it knows graymw or OpenTelemetry; the agent carries the decision.
 */
public final class Neighbour {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(arguments[0]);
        URI next = URI.create("http://" + arguments[1] + "/");
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> answer(exchange, next));
        server.start();
    }

    private static void answer(HttpExchange exchange, URI next) throws IOException {
        try (exchange) {
            HttpResponse<String> said = CLIENT.send(
                    HttpRequest.newBuilder(next).build(), HttpResponse.BodyHandlers.ofString());
            String received = String.join(",", exchange.getRequestHeaders().getOrDefault("baggage", List.of()));
            String text = "{\"baggage\": \"" + received.replace("\"", "\\\"") + "\", \"version\": null, \"next\": "
                    + said.body() + "}";
            byte[] body = text.getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("content-type", "application/json");
            exchange.sendResponseHeaders(said.statusCode(), body.length);
            exchange.getResponseBody().write(body);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
