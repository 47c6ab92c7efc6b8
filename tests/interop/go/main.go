// Command neighbour is a service in Go between two in Python: it answers what came to it and what the next one said.
// Nothing in it knows graymw; OpenTelemetry's propagators, or the framework's own, carry the decision.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
)

// serve answers on the listener and asks the next service, host:port; several of them by version, v1=host:port,v2=…
type serve func(listener net.Listener, next string) error

var kinds = map[string]serve{
	"nethttp": serveNetHTTP,
	"grpc":    serveGRPC,
	"kratos":  serveKratos,
	"gokit":   serveGoKit,
}

// answer is what each service of the chain says.
type answer struct {
	Baggage string `json:"baggage"` // as it was received
	Version string `json:"version"` // that OpenTelemetry's baggage names for the release
	Next    any    `json:"next"`
}

func versionIn(ctx context.Context) string {
	return baggage.FromContext(ctx).Member("gray.checkout").Value()
}

func main() {
	kind := flag.String("kind", "", "what serves and calls")
	listen := flag.String("listen", "127.0.0.1:0", "where to serve")
	next := flag.String("next", "", "whom to call")
	flag.Parse()
	if err := run(*kind, *listen, *next); err != nil {
		log.Fatal(err)
	}
}

func run(kind, listen, next string) error {
	serve, known := kinds[kind]
	if !known {
		return fmt.Errorf("no such kind: %q", kind)
	}
	exporter, err := otlptracehttp.New(context.Background())
	if err != nil {
		return err
	}
	// Each span leaves as it ends: the process is killed, not asked.
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSyncer(exporter)))
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return serve(listener, next)
}
