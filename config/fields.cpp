// Opening a map: each key is known, misspelt, repeated, or designed but not built.
#include "config/fields.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace sepal::config {
namespace {

// Levenshtein's distance; both texts are short.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// The known key nearest to `text`, when it is near enough to be a slip.
std::string_view nearest(std::string_view text, const KeyTable& table) {
  constexpr size_t kTextMax = 32;
  if (text.size() > kTextMax) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, text.size() / 3) + 1;
  for (const Key& key : table.keys) {
    size_t d = distance(text, key.name);
    if (!key.missing.empty() || d >= best_distance) continue;
    best = key.name;
    best_distance = d;
  }
  return best;
}

std::string known_keys(const KeyTable& table) {
  std::string list;
  for (const Key& key : table.keys) {
    if (key.missing.empty()) list += (list.empty() ? "" : ", ") + std::string(key.name);
  }
  return list;
}

}  // namespace

Fields::Fields(NodeRef node, const KeyTable& table, Faults& faults, std::string_view name)
    : node_(node), table_(table), faults_(faults), name_(name), is_map_(node.kind() == NodeKind::map) {
  static_assert(std::all_of(tables::kAll.begin(), tables::kAll.end(),
                            [](const KeyTable* t) { return t->keys.size() <= kKeysMax; }));
  if (is_map_) {
    open_keys();
  } else if (node.kind() == NodeKind::refused) {
    faults_.note_silent();
  } else {
    fault(node.where(), "expected a map, found " + describe(node.kind()), "keys here are: " + known_keys(table_));
  }
}

NodeRef Fields::find(std::string_view key) const {
  size_t at = index_of(key);
  return at < kKeysMax ? values_[at] : NodeRef();
}

bool Fields::missing(std::string_view key) const {
  size_t at = index_of(key);
  return is_map_ && at < kKeysMax && !values_[at] && !misspelt_.test(at);
}

size_t Fields::index_of(std::string_view key) const {
  for (size_t i = 0; i < table_.keys.size(); ++i) {
    if (table_.keys[i].name == key) return i;
  }
  return kKeysMax;
}

void Fields::open_keys() {
  for (NodeRef key = node_.child(); key; key = key.next()) {
    NodeRef value = key.next();
    take(key, value);
    key = value;
  }
}

void Fields::take(NodeRef key, NodeRef value) {
  if (key.kind() == NodeKind::refused) return faults_.note_silent();
  if (key.kind() != NodeKind::scalar) {
    return fault(key.where(), "a key must be text, found " + describe(key.kind()),
                 "keys here are: " + known_keys(table_));
  }
  for (size_t i = 0; i < table_.keys.size(); ++i) {
    const Key& known = table_.keys[i];
    if (known.name != key.text()) continue;
    if (!known.missing.empty()) {
      return fault(
          key.where(),
          std::string(known.name) + " is not supported yet: this version would not " + std::string(known.missing),
          "remove it");
    }
    if (values_[i]) {
      return fault(key.where(),
                   std::string(known.name) + " is given twice (at " + faults_.place(values_[i].where()) + ")",
                   "keep one");
    }
    values_[i] = value;
    return;
  }
  unknown(key);
}

void Fields::unknown(NodeRef key) {
  if (key.text() == "<<") return fault(key.where(), "merge keys (<<) are not supported", "write the keys out");
  std::string_view near = nearest(key.text(), table_);
  if (!near.empty()) misspelt_.set(index_of(near));
  fault(key.where(), "unknown key " + quoted(key.text()),
        near.empty() ? "keys here are: " + known_keys(table_) : "did you mean " + std::string(near) + "?");
}

bool Fields::is_list(std::string_view key, NodeRef list) const {
  if (list.kind() == NodeKind::sequence) return true;
  if (list.kind() == NodeKind::refused) faults_.note_silent();
  if (list.kind() == NodeKind::scalar || list.kind() == NodeKind::map) {
    note(key, list, {"expected a list, found " + describe(list.kind()), "write it as a list, even of one: [ … ]"});
  }
  return false;
}

void Fields::note(std::string_view key, NodeRef node, Issue issue) const {
  fault(node.where(), std::string(key) + ": " + issue.what, std::move(issue.hint));
}

void Fields::fault(Location where, const std::string& what, std::string hint) const {
  std::string owner(table_.owner);
  if (!name_.empty()) owner += " " + quoted(name_);
  faults_.add(where, owner + ": " + what, std::move(hint));
}

}  // namespace sepal::config
