// mamma is not required here: the workspace provides it, from its source tree.
module example.net/ports

go 1.26.0
