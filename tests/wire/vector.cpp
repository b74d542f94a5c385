#include "tests/wire/vector.hpp"

#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_pedit.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace sepal::wire {
namespace {

constexpr size_t kHeaders = sizeof(nlmsghdr) + sizeof(tcmsg);

std::ifstream open_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return in;
}

Vector load(const std::filesystem::path& path) {
  Vector out;
  out.name = path.stem();
  std::ifstream in = open_file(path);
  std::string digits;
  for (std::string line; std::getline(in, line);) {
    if (out.command.empty() && line.starts_with("# ")) out.command = line.substr(2);
    for (const char c : line.substr(0, line.find('#'))) {
      if (c == ' ') continue;
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) throw std::runtime_error(path.string() + ": " + line);
      digits += c;
    }
  }
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    out.bytes.push_back(static_cast<uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  }
  return out;
}

using Path = std::vector<uint16_t>;

// TCA_OPTIONS, and inside it TCA_FLOWER_ACT, each action, its options and statistics, and a pedit's headers.
bool nests(const Path& path, const std::string& action_kind) {
  constexpr uint16_t kAny = 0xffff;
  const auto is = [&path](std::initializer_list<uint16_t> pattern) {
    return path.size() == pattern.size() && std::equal(path.begin(), path.end(), pattern.begin(),
                                                       [](uint16_t a, uint16_t b) { return a == b || b == kAny; });
  };
  return is({TCA_OPTIONS}) || is({TCA_OPTIONS, TCA_FLOWER_ACT}) || is({TCA_OPTIONS, TCA_FLOWER_ACT, kAny}) ||
         is({TCA_OPTIONS, TCA_FLOWER_ACT, kAny, TCA_ACT_OPTIONS}) ||
         is({TCA_OPTIONS, TCA_FLOWER_ACT, kAny, TCA_ACT_STATS}) ||
         (action_kind == "pedit" &&
          (is({TCA_OPTIONS, TCA_FLOWER_ACT, kAny, TCA_ACT_OPTIONS, TCA_PEDIT_KEYS_EX}) ||
           is({TCA_OPTIONS, TCA_FLOWER_ACT, kAny, TCA_ACT_OPTIONS, TCA_PEDIT_KEYS_EX, TCA_PEDIT_KEY_EX})));
}

std::vector<Node> parse_attrs(const uint8_t* data, size_t size, Path& path, std::string& action_kind) {
  std::vector<Node> out;
  for (size_t at = 0; at + NLA_HDRLEN <= size;) {
    nlattr header{};
    std::memcpy(&header, data + at, sizeof header);
    if (header.nla_len < NLA_HDRLEN || header.nla_len > size - at) throw std::runtime_error("broken attribute");
    const uint8_t* payload = data + at + NLA_HDRLEN;
    const size_t payload_size = header.nla_len - static_cast<size_t>(NLA_HDRLEN);
    Node node;
    node.type = header.nla_type & NLA_TYPE_MASK;
    path.push_back(node.type);
    node.is_nest = nests(path, action_kind);
    if (node.is_nest) {
      node.children = parse_attrs(payload, payload_size, path, action_kind);
    } else {
      node.payload.assign(payload, payload + payload_size);
      if (path.size() == 4 && node.type == TCA_ACT_KIND) action_kind = reinterpret_cast<const char*>(payload);
    }
    path.pop_back();
    out.push_back(std::move(node));
    at += NLA_ALIGN(header.nla_len);
  }
  // Stable: the order of a pedit's headers, which are all of one type, does carry meaning.
  std::stable_sort(out.begin(), out.end(), [](const Node& a, const Node& b) { return a.type < b.type; });
  return out;
}

void print(const Node& node, const std::string& path, std::string& out) {
  if (node.is_nest) {
    for (const Node& child : node.children) {
      print(child, path + (path.empty() ? "" : ".") + std::to_string(child.type), out);
    }
    return;
  }
  out += path + " =";
  for (size_t i = 0; i < node.payload.size(); ++i) {
    char digits[4];
    std::snprintf(digits, sizeof digits, i % 4 == 0 ? " %02x" : "%02x", node.payload[i]);
    out += digits;
  }
  out += '\n';
}

}  // namespace

std::vector<Vector> load_vectors(const std::string& folder) {
  std::vector<Vector> out;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(SEPAL_WIRE_DIR) / folder)) {
    if (entry.path().extension() == ".txt") out.push_back(load(entry.path()));
  }
  std::sort(out.begin(), out.end(), [](const Vector& a, const Vector& b) { return a.name < b.name; });
  return out;
}

std::vector<std::pair<std::string, std::string>> load_lines(const std::string& file) {
  std::vector<std::pair<std::string, std::string>> out;
  std::ifstream in = open_file(std::filesystem::path(SEPAL_WIRE_DIR) / file);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (!line.starts_with('#') && colon != std::string::npos)
      out.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  return out;
}

Node* Node::child(uint16_t child_type) {
  const auto found =
      std::find_if(children.begin(), children.end(), [child_type](const Node& n) { return n.type == child_type; });
  return found == children.end() ? nullptr : &*found;
}

void Node::remove(uint16_t child_type) {
  std::erase_if(children, [child_type](const Node& n) { return n.type == child_type; });
}

Node parse_tree(const std::vector<uint8_t>& message) {
  if (message.size() < kHeaders) throw std::runtime_error("message without its headers");
  Path path;
  std::string action_kind;
  Node out;
  out.is_nest = true;
  out.children = parse_attrs(message.data() + kHeaders, message.size() - kHeaders, path, action_kind);
  Node header;
  header.payload.assign(message.begin() + 4, message.begin() + kHeaders);  // all but the length
  out.children.insert(out.children.begin(), header);
  return out;
}

Node parse_action_tree(const std::vector<uint8_t>& message) {
  constexpr size_t kActionHeaders = sizeof(nlmsghdr) + sizeof(tcamsg);
  if (message.size() < kActionHeaders + NLA_HDRLEN) throw std::runtime_error("message without its table");
  // TCA_ROOT_TAB, the first attribute, holds what TCA_FLOWER_ACT holds in a filter.
  Path path = {TCA_OPTIONS, TCA_FLOWER_ACT};
  std::string action_kind;
  nlattr table{};
  std::memcpy(&table, message.data() + kActionHeaders, sizeof table);
  Node out;
  out.is_nest = true;
  out.children = parse_attrs(message.data() + kActionHeaders + NLA_HDRLEN,
                             table.nla_len - static_cast<size_t>(NLA_HDRLEN), path, action_kind);
  Node header;
  header.payload.assign(message.begin() + 4, message.begin() + kActionHeaders);
  out.children.insert(out.children.begin(), header);
  return out;
}

std::string to_text(const Node& tree) {
  std::string out;
  print(tree, "", out);
  return out;
}

}  // namespace sepal::wire
