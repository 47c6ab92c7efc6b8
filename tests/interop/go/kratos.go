package main

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/metadata"
	"github.com/go-kratos/kratos/v2/middleware/tracing"
	"github.com/go-kratos/kratos/v2/registry"
	"github.com/go-kratos/kratos/v2/selector"
	"github.com/go-kratos/kratos/v2/selector/filter"
	kratos "github.com/go-kratos/kratos/v2/transport/http"
)

const stable = "v1"

// decided leaves the nodes of the version that the first hop decided for; of the stable one where none was.
func decided(ctx context.Context, nodes []selector.Node) []selector.Node {
	version := versionIn(ctx)
	if version == "" {
		version = stable
	}
	return filter.Version(version)(ctx, nodes)
}

func serveKratos(listener net.Listener, next string) error {
	client, err := kratos.NewClient(
		context.Background(),
		kratos.WithEndpoint("discovery:///last"),
		kratos.WithDiscovery(instances(next)),
		kratos.WithBlock(),
		kratos.WithNodeFilter(decided),
		kratos.WithMiddleware(tracing.Client(), metadata.Client()),
	)
	if err != nil {
		return err
	}
	server := kratos.NewServer(
		kratos.Listener(listener),
		kratos.Middleware(tracing.Server(), metadata.Server()),
	)
	server.Route("/").GET("/", func(request kratos.Context) error {
		var handler middleware.Handler = func(ctx context.Context, _ any) (any, error) {
			var said any
			err := client.Invoke(ctx, http.MethodGet, "/", nil, &said)
			return answer{Baggage: request.Header().Get("baggage"), Version: versionIn(ctx), Next: said}, err
		}
		reply, err := request.Middleware(handler)(request, nil)
		if err != nil {
			return err
		}
		return request.JSON(http.StatusOK, reply)
	})
	return server.Start(context.Background())
}

// instances is a registry that never changes, of one service: v1=host:port,v2=…
type instances string

func (all instances) GetService(context.Context, string) ([]*registry.ServiceInstance, error) {
	var found []*registry.ServiceInstance
	for _, one := range strings.Split(string(all), ",") {
		version, address, _ := strings.Cut(one, "=")
		found = append(found, &registry.ServiceInstance{
			ID: address, Name: "last", Version: version, Endpoints: []string{"http://" + address},
		})
	}
	return found, nil
}

func (all instances) Watch(ctx context.Context, name string) (registry.Watcher, error) {
	found, err := all.GetService(ctx, name)
	first := make(chan []*registry.ServiceInstance, 1)
	first <- found
	ctx, stop := context.WithCancel(ctx)
	return &watcher{ctx: ctx, stop: stop, first: first}, err
}

type watcher struct {
	ctx   context.Context
	stop  context.CancelFunc
	first chan []*registry.ServiceInstance
}

func (w *watcher) Next() ([]*registry.ServiceInstance, error) {
	select {
	case found := <-w.first:
		return found, nil
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

func (w *watcher) Stop() error {
	w.stop()
	return nil
}
