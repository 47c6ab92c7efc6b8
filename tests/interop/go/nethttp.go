package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

func serveNetHTTP(listener net.Listener, next string) error {
	client := &http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}
	handler := func(response http.ResponseWriter, request *http.Request) {
		said, err := get(request.Context(), client, "http://"+next+"/")
		if err != nil {
			http.Error(response, err.Error(), http.StatusBadGateway)
			return
		}
		response.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(response).Encode(answer{
			Baggage: request.Header.Get("baggage"),
			Version: versionIn(request.Context()),
			Next:    said,
		})
	}
	return http.Serve(listener, otelhttp.NewHandler(http.HandlerFunc(handler), "GET /"))
}

func get(ctx context.Context, client *http.Client, url string) (any, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	var said any
	return said, json.NewDecoder(response.Body).Decode(&said)
}
