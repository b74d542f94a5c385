#include "tests/unit/config/fault_table.hpp"

#include <sstream>

#include "config/read.hpp"

namespace sepal::config {
namespace {

const char* skip_line_break(const char* text) { return *text == '\n' ? text + 1 : text; }

std::string tenant_text(const TenantText& tenant, const std::string& name, const std::string& vni) {
  std::string text = skip_line_break(tenant.text);
  if (tenant.complete) return text;
  return "apiVersion: sepal/v1\nkind: Tenant\nname: " + name + "\nvni: " + vni + "\nsubnets: [10.0.0.0/24]\n" + text;
}

}  // namespace

std::vector<std::string> faults_of(const FaultCase& fault_case) {
  std::vector<SourceText> sources;
  const FaultFiles& files = fault_case.files;
  if (files.host != nullptr) {
    sources.push_back({"host.yaml", std::string("apiVersion: sepal/v1\nkind: Host\n") + skip_line_break(files.host)});
  }
  if (files.blue.text != nullptr) sources.push_back({"blue.yaml", tenant_text(files.blue, "blue", "100")});
  if (files.green.text != nullptr) sources.push_back({"green.yaml", tenant_text(files.green, "green", "200")});
  std::vector<std::string> faults;
  auto result = read_texts(sources);
  if (result) return faults;
  for (const Fault& fault : result.error()) faults.push_back(fault.to_string());
  return faults;
}

std::vector<std::string> lines(const char* text) {
  std::vector<std::string> result;
  std::istringstream stream(skip_line_break(text));
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

std::string sentence_of(const testing::TestParamInfo<FaultCase>& info) { return info.param.sentence; }

void PrintTo(const FaultCase& fault_case, std::ostream* out) { *out << fault_case.sentence; }

}  // namespace sepal::config
