package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// hop answers JSON in a StringValue, so that no service needs generated code.
type hop struct{ next *grpc.ClientConn }

var hopService = grpc.ServiceDesc{
	ServiceName: "interop.Hop",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Answer",
		Handler: func(service any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(&emptypb.Empty{}); err != nil {
				return nil, err
			}
			return service.(*hop).answer(ctx)
		},
	}},
}

func serveGRPC(listener net.Listener, next string) error {
	connection, err := grpc.NewClient(
		next,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
	)
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	server.RegisterService(&hopService, &hop{next: connection})
	return server.Serve(listener)
}

func (h *hop) answer(ctx context.Context) (*wrapperspb.StringValue, error) {
	var said wrapperspb.StringValue
	if err := h.next.Invoke(ctx, "/interop.Hop/Answer", &emptypb.Empty{}, &said); err != nil {
		return nil, err
	}
	received, _ := metadata.FromIncomingContext(ctx)
	text, err := json.Marshal(answer{
		Baggage: strings.Join(received.Get("baggage"), ","),
		Version: versionIn(ctx),
		Next:    json.RawMessage(said.GetValue()),
	})
	return wrapperspb.String(string(text)), err
}
