# Manage every network that has a default route. The setting names and all that
# can be said about single networks are in the reference file.
auto = true

policy "threshold" {
}
