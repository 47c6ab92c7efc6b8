// Names the Consul that build.sh builds; go.sum holds its checksums.
module graymw.test/consul

go 1.20

require github.com/hashicorp/consul v1.12.9

// Consul's own, which only count in the main module.
replace (
	istio.io/gogo-genproto v0.0.0-20190124151557-6d926a6e6feb => github.com/istio/gogo-genproto v0.0.0-20190124151557-6d926a6e6feb
	launchpad.net/gocheck => github.com/go-check/check v0.0.0-20140225173054-eb6ee6f84d0a
)
