// Command docker bridges the Terraform provider for Docker into Pulumi under
// the resource tokens and property names of pulumi-docker 5.2.0.  It has all
// that pulumi-docker bridges; docker:index:Image (builds by Pulumi's own code)
// is left to the genuine provider.
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

func function(name string) *tfbridge.DataSourceInfo {
	return &tfbridge.DataSourceInfo{
		Tok: tokens.ModuleMember("docker:index/" + name + ":" + name),
	}
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
			"docker_buildx_builder": {Tok: token("BuildxBuilder")},
			"docker_config":         {Tok: token("ServiceConfig")},
			"docker_container":      container(),
			"docker_image": {
				Tok:    token("RemoteImage"),
				Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}},
			},
			"docker_network":        {Tok: token("Network")},
			"docker_plugin":         {Tok: token("Plugin")},
			"docker_registry_image": {Tok: token("RegistryImage")},
			"docker_secret":         {Tok: token("Secret")},
			"docker_service":        {Tok: token("Service")},
			"docker_tag":            {Tok: token("Tag")},
			"docker_volume":         {Tok: token("Volume")},
		},
		DataSources: map[string]*tfbridge.DataSourceInfo{
			"docker_image":                    function("getRemoteImage"),
			"docker_logs":                     function("getLogs"),
			"docker_network":                  function("getNetwork"),
			"docker_plugin":                   function("getPlugin"),
			"docker_registry_image":           function("getRegistryImage"),
			"docker_registry_image_manifests": function("getRegistryImageManifests"),
		},
	}
	info.SetAutonaming(255, "-")
	return info
}

func main() {
	tfbridge.Main("docker", version, info(), []byte("{}"))
}
