// Package shim hands out the Terraform provider for TLS keys and certificates,
// which is internal to its module; this package's import path lies under it.
package shim

import (
	"github.com/hashicorp/terraform-plugin-framework/provider"
	tls "github.com/hashicorp/terraform-provider-tls/internal/provider"
)

// NewProvider returns the provider.
func NewProvider() provider.Provider {
	return tls.New()
}
