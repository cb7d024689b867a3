"""Resources, one file each; `api.app` finds them by itself."""
