// Names of an instance's files, and the one directory they need.
#include "agent/paths.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "base/limits.hpp"

namespace sepal::agent {

Result<Paths> Paths::make(std::string_view instance, std::string_view run_directory) {
  auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; };
  const bool good = !instance.empty() && instance.size() <= limits::kNameLengthMax && instance[0] != '-' &&
                    instance[0] != '_' && std::all_of(instance.begin(), instance.end(), plain);
  if (!good)
    return fail(Errc::invalid_config,
                "instance '" + std::string(instance) +
                    "': a name is 1 to 63 letters, digits, '-' or '_', and begins with a letter or digit");
  Paths paths;
  paths.instance = instance;
  paths.directory = run_directory;
  const std::string base = paths.directory + "/" + paths.instance;
  paths.lock = base + ".lock";
  paths.socket = base + ".sock";
  paths.state = base + ".state";
  paths.last = base + ".last";
  paths.hardware = base + ".hardware";
  return paths;
}

Result<void> make_run_directory(const Paths& paths) {
  if (::mkdir(paths.directory.c_str(), 0755) == 0 || errno == EEXIST) return {};
  return fail_errno(errno, "create " + paths.directory);
}

}  // namespace sepal::agent
