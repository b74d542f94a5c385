// One YAML map read by its table of keys: unknown, repeated and not-yet-built keys are noted when it is opened; then
// each key is read once with a parser of scalars.hpp. Faults carry the owner ("port 'web-0'"), the key and the place.
#pragma once

#include <array>
#include <bitset>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config/keys.hpp"
#include "config/scalars.hpp"

namespace sepal::config {

class Fields {
 public:
  // `node` may be of any kind: what is not a map is noted and then has no fields. `name` completes the owner in faults
  // and must outlive this.
  Fields(NodeRef node, const KeyTable& table, Faults& faults, std::string_view name = {});

  [[nodiscard]] bool is_map() const { return is_map_; }
  [[nodiscard]] Location where() const { return node_.where(); }
  [[nodiscard]] NodeRef find(std::string_view key) const;
  // `key` is absent, and no unknown key looks like a slip for it (which is a fault enough).
  [[nodiscard]] bool missing(std::string_view key) const;
  [[nodiscard]] Faults& faults() const { return faults_; }
  void set_name(std::string_view name) { name_ = name; }

  // The value of `key`; nothing when it is absent, or when it is wrong and noted.
  template <typename Parse>
  auto read(std::string_view key, Parse parse) const -> std::optional<typename decltype(parse(NodeRef()))::value_type> {
    NodeRef node = find(key);
    if (!node) return std::nullopt;
    return accept(key, node, parse(node));
  }

  // The same, but absence is a fault, too; `hint` says what to add.
  template <typename Parse>
  auto require(std::string_view key, std::string_view hint, Parse parse) const {
    if (missing(key)) fault(where(), std::string(key) + " is missing", "add " + std::string(hint));
    return read(key, parse);
  }

  // Calls `visit` with each item of the list under `key`; an absent or empty value is an empty list.
  template <typename Visit>
  void each(std::string_view key, Visit visit) const {
    NodeRef list = find(key);
    if (!list || !is_list(key, list)) return;
    for (NodeRef item = list.child(); item; item = item.next()) visit(item);
  }

  template <typename T>
  std::optional<T> accept(std::string_view key, NodeRef node, Parsed<T> parsed) const {
    if (parsed) return std::move(*parsed);
    if (!parsed.error().what.empty()) note(key, node, std::move(parsed.error()));
    return std::nullopt;
  }

  // A fault of this map: the owner is put before `what`.
  void fault(Location where, const std::string& what, std::string hint) const;

 private:
  void open_keys();
  void take(NodeRef key, NodeRef value);
  void unknown(NodeRef key);
  [[nodiscard]] size_t index_of(std::string_view key) const;
  bool is_list(std::string_view key, NodeRef list) const;
  void note(std::string_view key, NodeRef node, Issue issue) const;

  static constexpr size_t kKeysMax = 20;

  NodeRef node_;
  const KeyTable& table_;
  Faults& faults_;
  std::string_view name_;
  bool is_map_ = false;
  std::array<NodeRef, kKeysMax> values_;  // in the table's order
  std::bitset<kKeysMax> misspelt_;        // keys that an unknown one was meant for
};

}  // namespace sepal::config
