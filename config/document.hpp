// One file's YAML as a tree of plain nodes with positions. Built from libyaml's events (document.cpp), not from its
// documents: those have aliases resolved before anyone can refuse them. What this configuration refuses of YAML
// (anchors, aliases, tags, deep nesting) is refused here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/fault.hpp"
#include "config/model.hpp"

namespace sepal::config {

enum class NodeKind : uint8_t {
  null,      // nothing, ~ or null
  scalar,    // text, plain or quoted
  sequence,  // a list
  map,       // children: key, value, key, value …
  refused,   // an alias or a tagged value; the fault is already noted
};

struct Node {
  NodeKind kind = NodeKind::null;
  bool quoted = false;   // or a block scalar: text by the writer's intent, never a number or a boolean
  uint32_t line = 0;     // from 1
  uint32_t column = 0;   // from 1, in bytes
  uint32_t text_at = 0;  // into Document::text
  uint32_t text_size = 0;
  uint32_t next = 0;   // the following sibling; 0: none
  uint32_t child = 0;  // the first child; 0: none
};

// Node 0 is a sentinel, so that 0 can mean "none".
struct Document {
  uint32_t file = 0;
  std::vector<Node> nodes = std::vector<Node>(1);
  std::string text;             // all scalars, one after the other
  std::vector<uint32_t> roots;  // one per YAML document in the file
  bool complete = true;         // false: a syntax error ended the reading early
};

// A node seen through its document; cheap to copy. A default-made one stands for "not there".
class NodeRef {
 public:
  NodeRef() = default;
  NodeRef(const Document& document, uint32_t index) : document_(&document), index_(index) {}

  explicit operator bool() const { return index_ != 0; }
  [[nodiscard]] uint32_t index() const { return index_; }
  [[nodiscard]] NodeKind kind() const { return node().kind; }
  [[nodiscard]] bool quoted() const { return node().quoted; }
  [[nodiscard]] std::string_view text() const {
    return std::string_view(document_->text).substr(node().text_at, node().text_size);
  }
  [[nodiscard]] Location where() const { return {document_->file, node().line, node().column}; }
  [[nodiscard]] NodeRef child() const { return {*document_, node().child}; }
  [[nodiscard]] NodeRef next() const { return {*document_, node().next}; }

 private:
  [[nodiscard]] const Node& node() const { return document_->nodes[index_]; }

  const Document* document_ = nullptr;
  uint32_t index_ = 0;
};

// Parses `text`, which check_text() (text_check.hpp) has let pass. Faults of syntax go to `faults`; documents before a
// syntax error stay. `nodes_left` is the budget over all files and is reduced by what this one took.
Document parse_document(std::string_view text, uint32_t file, size_t& nodes_left, Faults& faults);

}  // namespace sepal::config
