# Manage every network that has a default route. The reference file has all
# settings, and those for single networks.
auto = true

policy "adaptive" {
}
