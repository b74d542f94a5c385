// Tables of configurations and their faults: a row is a sentence, up to three files, and the fault lines they yield.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sepal::config {

// Lines 1 and 2 of host.yaml are apiVersion and kind; these follow.
inline constexpr const char* kDefaultHost = R"(
underlay: {device: uplink, address: 192.0.2.1, vlan: 2, mtu: 1600}
public: {vlan: 30, gateway: 198.51.100.1}
)";

struct TenantText {
  const char* text = nullptr;  // begins with a line break, which does not count
  bool complete = false;
};
// The whole file.
inline TenantText whole(const char* text) { return {text, true}; }
// Lines after apiVersion, kind, name (blue, green), vni (100, 200) and subnets: [10.0.0.0/24].
inline TenantText more(const char* text) { return {text, false}; }

struct FaultFiles {
  const char* host = kDefaultHost;  // nullptr: no host.yaml
  TenantText blue;
  TenantText green;
};

struct FaultCase {
  const char* sentence;
  FaultFiles files;
  const char* faults;  // begins with a line break; one fault per line
};

std::vector<std::string> faults_of(const FaultCase& fault_case);
std::vector<std::string> lines(const char* text);
std::string sentence_of(const testing::TestParamInfo<FaultCase>& info);
void PrintTo(const FaultCase& fault_case, std::ostream* out);

}  // namespace sepal::config
