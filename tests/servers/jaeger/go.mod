// Names the Jaeger that build.sh builds; go.sum holds its checksums.
module graymw.test/jaeger

go 1.24.6

require github.com/jaegertracing/jaeger v1.76.0
