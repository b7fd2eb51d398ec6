// Command tls bridges the Terraform provider for TLS keys and
// certificates into Pulumi under the resource tokens of pulumi-tls 5.6.2.
package main

import (
	"context"
	"strings"

	pfbridge "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/pf/tfbridge"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"

	"github.com/hashicorp/terraform-provider-tls/shim"
)

const version = "5.6.2"

func token(name string) tokens.Type {
	module := strings.ToLower(name[:1]) + name[1:]
	return tokens.Type("tls:index/" + module + ":" + name)
}

func info() tfbridge.ProviderInfo {
	return tfbridge.ProviderInfo{
		P:            pfbridge.ShimProvider(shim.NewProvider()),
		Name:         "tls",
		Version:      version,
		MetadataInfo: tfbridge.NewProviderMetadata([]byte("{}")),
		Resources: map[string]*tfbridge.ResourceInfo{
			"tls_private_key":         {Tok: token("PrivateKey")},
			"tls_cert_request":        {Tok: token("CertRequest")},
			"tls_locally_signed_cert": {Tok: token("LocallySignedCert")},
			"tls_self_signed_cert":    {Tok: token("SelfSignedCert")},
		},
		IgnoreMappings: []string{"tls_certificate", "tls_public_key"},
	}
}

func main() {
	meta := pfbridge.ProviderMetadata{PackageSchema: []byte("{}")}
	pfbridge.Main(context.Background(), "tls", info(), meta)
}
