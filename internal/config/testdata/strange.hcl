compat_socket = "/tmp/muacc"
system_bus    = "off"

policy "dir\\policy $${x}.so" {
  logfile = "a\\\"b\nc"
  # HCL cannot write this name: "two words" = 1
  rate   = "3.500000"
  number = 7
  text   = "007"
  answer = true
}

prefix "10.0.1.2" {
  default    = true
  nameserver = ["10.0.1.1", "10.0.1.1:5353", "2001:db8::1"]
  resolvconf = "/etc/resolv.conf"
  dnsbindto  = "10.0.1.2"
  options {
    category = "query"
  }
}

prefix "10.0.2.2" {
  enabled = false
}

prefix "10.0.3.2" {
  enabled = false
}

prefix "fe80::" {
}
