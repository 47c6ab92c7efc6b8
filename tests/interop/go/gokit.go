package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"

	transport "github.com/go-kit/kit/transport/http"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// Go kit leaves OpenTelemetry to net/http beneath it: the context that its endpoints hand on carries the rest.
func serveGoKit(listener net.Listener, next string) error {
	ask := transport.NewClient(
		http.MethodGet,
		&url.URL{Scheme: "http", Host: next, Path: "/"},
		func(context.Context, *http.Request, any) error { return nil },
		func(_ context.Context, response *http.Response) (any, error) {
			var said any
			err := json.NewDecoder(response.Body).Decode(&said)
			return said, err
		},
		transport.SetClient(&http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}),
	).Endpoint()
	server := transport.NewServer(
		func(ctx context.Context, received any) (any, error) {
			said, err := ask(ctx, nil)
			return answer{Baggage: received.(string), Version: versionIn(ctx), Next: said}, err
		},
		func(_ context.Context, request *http.Request) (any, error) { return request.Header.Get("baggage"), nil },
		transport.EncodeJSONResponse,
	)
	return http.Serve(listener, otelhttp.NewHandler(server, "GET /"))
}
