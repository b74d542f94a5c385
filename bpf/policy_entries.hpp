// Entries of a tenant's maps of security groups, as policy/ makes them and the loader moves them into the kernel.
#pragma once

#include "bpf/policy_layout.h"

namespace sepal::bpf {

struct PrefixEntry {
  sepal_prefix_key key{};
  sepal_prefix_value value{};
};

struct ChoiceEntry {
  sepal_choice_key key{};
  sepal_choice_value value{};
};

}  // namespace sepal::bpf
