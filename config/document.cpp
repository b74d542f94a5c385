// yaml-cpp's events → Document. yaml-cpp's own guard against deep recursion is 500 levels; ours, in the handler, ends
// the parse at limits::kYamlDepthMax. Exceptions of the library, and Stop, do not leave this file.
#include "config/document.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <istream>
#include <streambuf>

#include "base/limits.hpp"

namespace sepal::config {
namespace {

const std::string kSyntaxHint = "look at the indentation, the quotes and the brackets at this place and just before it";

// Ends the parse of one file; the fault is noted before it is thrown.
struct Stop {};

// Lets an istream read a string_view without copying it.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // NOLINT: streambuf's interface; the get area is only read
    setg(begin, begin, begin + text.size());
  }
};

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(Document& document, size_t& nodes_left, Faults& faults)
      : document_(document), nodes_left_(nodes_left), faults_(faults) {}

  // A stray ',' or ']' behind a document makes yaml-cpp 0.7 report empty documents at that place for ever.
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (mark.pos == document_at_) {
      document_.roots.pop_back();
      faults_.add(where(mark), "not valid YAML: unexpected text behind the end of a document", kSyntaxHint);
      throw Stop{};
    }
    document_at_ = mark.pos;
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    append(mark, NodeKind::null);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    refuse_anchor(mark, 1);
    append(mark, NodeKind::refused);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    Node& node = append(mark, accept_tag(mark, tag) ? NodeKind::scalar : NodeKind::refused);
    node.quoted = tag == "!";  // yaml-cpp's mark for what is not a plain scalar
    node.text_at = static_cast<uint32_t>(document_.text.size());
    node.text_size = static_cast<uint32_t>(value.size());
    document_.text += value;
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, NodeKind::sequence);
  }
  void OnSequenceEnd() override { open_.pop_back(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, NodeKind::map);
  }
  void OnMapEnd() override { open_.pop_back(); }

  [[nodiscard]] Location where(const YAML::Mark& mark) const {
    if (mark.is_null()) return {document_.file, 0, 0};
    return {document_.file, static_cast<uint32_t>(mark.line) + 1, static_cast<uint32_t>(mark.column) + 1};
  }

 private:
  struct Open {
    uint32_t node = 0;
    uint32_t last_child = 0;
  };

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, NodeKind kind) {
    refuse_anchor(mark, anchor);
    bool accepted = accept_tag(mark, tag);
    append(mark, accepted ? kind : NodeKind::refused);
    if (open_.size() >= limits::kYamlDepthMax) {
      faults_.add(where(mark), "nested deeper than " + std::to_string(limits::kYamlDepthMax) + " levels",
                  "no key of this configuration needs more than six");
      throw Stop{};
    }
    open_.push_back({static_cast<uint32_t>(document_.nodes.size() - 1), 0});
  }

  Node& append(const YAML::Mark& mark, NodeKind kind) {
    if (nodes_left_ == 0) {
      faults_.add(where(mark),
                  "more than " + std::to_string(limits::kYamlNodesMax) + " values in the configuration's files",
                  "nothing after this place was read; remove what is not configuration");
      throw Stop{};
    }
    --nodes_left_;
    auto index = static_cast<uint32_t>(document_.nodes.size());
    link(index);
    Location place = where(mark);
    document_.nodes.push_back(Node{.kind = kind, .line = place.line, .column = place.column});
    return document_.nodes.back();
  }

  void link(uint32_t index) {
    if (open_.empty()) {
      document_.roots.push_back(index);
      return;
    }
    Open& parent = open_.back();
    uint32_t& from =
        parent.last_child == 0 ? document_.nodes[parent.node].child : document_.nodes[parent.last_child].next;
    from = index;
    parent.last_child = index;
  }

  // One line per file is enough: who uses one anchor uses many.
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == 0) return;
    faults_.note_silent();
    if (anchor_seen_) return;
    anchor_seen_ = true;
    faults_.add(where(mark), "anchors (&name) and aliases (*name) are not supported", "write the value out");
  }

  bool accept_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return true;
    faults_.add(where(mark), "tag " + quoted(tag) + " is not supported", "remove it; types follow from the keys");
    return false;
  }

  Document& document_;
  size_t& nodes_left_;
  Faults& faults_;
  std::vector<Open> open_;
  bool anchor_seen_ = false;
  int document_at_ = -1;  // where the last document began
};

std::string_view line_of(std::string_view text, uint32_t line) {
  for (; line > 1; --line) {
    size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

bool indented_with_tab(std::string_view line) {
  size_t first = line.find_first_not_of(' ');
  return first != std::string_view::npos && line[first] == '\t';
}

// yaml-cpp ends some messages with a byte of the file ("unknown escape character: "): any byte, or half a character.
std::string in_ascii(const std::string& message) {
  std::string text;
  for (const char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
      continue;
    }
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
    text += escaped;
  }
  return text;
}

void add_syntax_fault(std::string_view text, Location where, const std::string& message, Faults& faults) {
  std::string hint = kSyntaxHint;
  if (where.line != 0 && indented_with_tab(line_of(text, where.line))) hint = "indent with spaces, not with tabs";
  if (message.find("anchor") != std::string::npos) hint = "write the value out; anchors and aliases are not supported";
  faults.add(where, "not valid YAML: " + in_ascii(message), std::move(hint));
}

}  // namespace

Document parse_document(std::string_view text, uint32_t file, size_t& nodes_left, Faults& faults) {
  Document document;
  document.file = file;
  TreeBuilder builder(document, nodes_left, faults);
  size_t roots_complete = 0;
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) roots_complete = document.roots.size();
    return document;
  } catch (const Stop&) {
  } catch (const YAML::Exception& e) {
    add_syntax_fault(text, builder.where(e.mark), e.msg, faults);
  } catch (const std::exception& e) {
    faults.add({file, 0, 0}, std::string("cannot be parsed: ") + e.what(), "make the file simpler or smaller");
  }
  document.roots.resize(std::min(roots_complete, document.roots.size()));
  document.complete = false;
  return document;
}

}  // namespace sepal::config
