// Reads a command line against a list of known options.
#include "agent/options.hpp"

#include <algorithm>
#include <charconv>

namespace sepal::agent {

Result<Options> Options::parse(const std::vector<std::string>& arguments, const std::vector<OptionSpec>& known) {
  Options options;
  bool only_words = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (only_words || argument.empty() || argument[0] != '-' || argument == "-") {
      options.words_.push_back(argument);
      continue;
    }
    if (argument == "--") {
      only_words = true;
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument == "-h" ? "--help" : argument.substr(0, equals);
    const auto spec = std::find_if(known.begin(), known.end(), [&](const OptionSpec& o) { return o.name == name; });
    if (spec == known.end()) return fail(Errc::invalid_config, "unknown option " + name);
    if (options.has(name)) return fail(Errc::invalid_config, "option " + name + " is given twice");
    std::string value;
    if (spec->has_value && equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (spec->has_value) {
      if (i + 1 == arguments.size()) return fail(Errc::invalid_config, "option " + name + " needs a value");
      value = arguments[++i];
    } else if (equals != std::string::npos) {
      return fail(Errc::invalid_config, "option " + name + " takes no value");
    }
    options.values_.emplace(name, std::move(value));
  }
  return options;
}

std::string Options::value(std::string_view name, std::string_view otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::string(otherwise) : found->second;
}

Result<std::optional<long>> Options::number(std::string_view name, long low, long high) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::optional<long>();
  const std::string& text = found->second;
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < low || number > high)
    return fail(Errc::invalid_config, "option " + std::string(name) + ": '" + text + "' is not a number from " +
                                          std::to_string(low) + " to " + std::to_string(high));
  return std::optional<long>(number);
}

}  // namespace sepal::agent
