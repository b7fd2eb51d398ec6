// Package shim hands out the Terraform provider for Docker, which is internal
// to its module; this package's import path lies under that module's.
package shim

import (
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// NewProvider returns the provider.
func NewProvider(version string) *schema.Provider {
	return provider.New(version)()
}
