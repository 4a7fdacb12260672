module tailplane/derp_go

go 1.26

require tailscale.com v1.102.4
