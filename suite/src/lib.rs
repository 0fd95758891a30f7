//! Generators, rules, devices and hosts of migcert.
