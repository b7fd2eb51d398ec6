// Command pulumi-resource-docker bridges the Terraform provider for Docker into
// Pulumi under the resource tokens and property names of pulumi-docker 5.2.0.
// It covers what a container host needs; image builds (docker:index:Image) and
// registries are left to the genuine provider.
package main

import (
	"strings"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"github.com/terraform-providers/terraform-provider-docker/shim"
)

const version = "5.2.0"

func token(name string) tokens.Type {
	module := strings.ToLower(name[:1]) + name[1:]
	return tokens.Type("docker:index/" + module + ":" + name)
}

func container() *tfbridge.ResourceInfo {
	return &tfbridge.ResourceInfo{
		Tok:                 token("Container"),
		DeleteBeforeReplace: true,
		Fields: map[string]*tfbridge.SchemaInfo{
			"command":           {Name: "command"},
			"networks_advanced": {Name: "networksAdvanced"},
		},
	}
}

func info() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:            shimv2.NewProvider(shim.NewProvider(version)),
		Name:         "docker",
		Version:      version,
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
		Config: map[string]*tfbridge.SchemaInfo{
			"host": {Default: &tfbridge.DefaultInfo{
				Value:   "unix:///var/run/docker.sock",
				EnvVars: []string{"DOCKER_HOST"},
			}},
			"registry_auth": {Name: "registryAuth", MaxItemsOne: tfbridge.False()},
		},
		Resources: map[string]*tfbridge.ResourceInfo{
			"docker_config":    {Tok: token("ServiceConfig")},
			"docker_container": container(),
			"docker_image": {
				Tok:    token("RemoteImage"),
				Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}},
			},
			"docker_network": {Tok: token("Network")},
			"docker_secret":  {Tok: token("Secret")},
			"docker_service": {Tok: token("Service")},
			"docker_tag":     {Tok: token("Tag")},
			"docker_volume":  {Tok: token("Volume")},
		},
		IgnoreMappings: []string{"docker_registry_image", "docker_plugin", "docker_logs"},
	}
	info.SetAutonaming(255, "-")
	return info
}

func main() {
	tfbridge.Main("docker", version, info(), []byte("{}"))
}
