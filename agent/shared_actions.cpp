// Objects by the content their cookies name. `tc actions list action pedit` shows them beside everybody else's.
#include "agent/shared_actions.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/limits.hpp"

namespace sepal::agent {
namespace {

// A number that is taken between our look and our request is passed over, but not for ever.
constexpr unsigned kRoundsMax = 8;

std::string object_text(std::string_view kind, uint32_t index) {
  char number[16];
  std::snprintf(number, sizeof number, "0x%x", index);
  return "shared action " + std::string(kind) + " " + number;
}

template <typename Visit>
void for_each_shared(const tc::RuleSpec& rule, const Visit& visit) {
  for (const tc::Action& action : rule.actions)
    if (action.shared) visit(action);
}

}  // namespace

// Enough to tell apart what rules share; what it leaves out, Equal compares.
size_t SharedActions::Hash::operator()(const View& view) const {
  uint64_t hash = view.kind.index() << 1U | (view.skip_hw ? 1U : 0U);
  const auto mix = [&hash](uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 29U;
  };
  if (const auto* pedit = std::get_if<tc::Pedit>(&view.kind)) {
    for (const tc::PeditKey& key : pedit->keys) mix(uint64_t{key.value} << 32U | (key.mask ^ key.offset));
  } else if (const auto* csum = std::get_if<tc::Csum>(&view.kind)) {
    mix(csum->flags);
  } else if (const auto* tunnel = std::get_if<tc::TunnelSet>(&view.kind)) {
    uint64_t words[2] = {};
    static_assert(sizeof words == sizeof tunnel->destination.bytes);
    std::memcpy(words, tunnel->destination.bytes.data(), sizeof words);
    mix(words[0]);
    mix(words[1] ^ tunnel->key_id);
  }
  return hash;
}

tc::Cookie SharedActions::cookie_of(Content content) const {
  tc::Cookie cookie;
  cookie.instance = instance_;
  cookie.content = content;
  return cookie;
}

Result<void> SharedActions::look(netlink::Transport& route) {
  const auto forget = [this] { *this = SharedActions(instance_); };
  forget();
  for (const std::string_view kind : tc::kSharedKinds) {
    netlink::Bytes request;
    if (auto put = tc::encode_action_dump(request, kind); !put) return put;
    std::vector<tc::ActionObject> seen;
    auto dumped = netlink::dump_whole(
        route, request, [&seen] { seen.clear(); },
        [&seen](netlink::BytesView message) {
          return tc::decode_actions_message(message, [&seen](const tc::ActionObject& o) { seen.push_back(o); });
        });
    if (!dumped) {
      forget();
      return Unexpected(while_doing(dumped.error(), "read actions of kind " + std::string(kind)));
    }
    for (const tc::ActionObject& object : seen) take(kind, object);
  }
  return {};
}

void SharedActions::take(std::string_view kind, const tc::ActionObject& seen) {
  if (seen.index >= limits::kSharedActionFirst) taken_[kind].insert(seen.index);
  if (!seen.cookie || seen.cookie->instance != instance_) return;
  ++count_;
  unused_ = unused_ || seen.bound == 0;
  const Content content = seen.cookie->content;
  const Object object{kind, seen.index, seen.bound, content};
  if (*seen.cookie != cookie_of(content)) {
    stale_.push_back(object);
  } else if (seen.unknown_attributes > 0 || tc::content_hash(seen.action) != content) {
    changed_.emplace(content, object);
  } else if (!objects_.emplace(seen.action, object).second) {
    stale_.push_back(object);
  }
}

std::vector<std::string> SharedActions::changed() const {
  std::vector<std::string> lines;
  for (const auto& [content, object] : changed_) lines.push_back(object_text(object.kind, object.index));
  return lines;
}

const SharedActions::Object* SharedActions::find(const tc::Action& action, bool skip_hw) const {
  const auto found = objects_.find(View{action.kind, skip_hw});
  return found == objects_.end() ? nullptr : &found->second;
}

// Something that is wanted and not there.
SharedActions::Entry& SharedActions::note(const tc::Action& action, bool skip_hw) {
  const tc::SharedAction shared{action.kind, skip_hw};
  Object object{tc::kind_of(shared)};
  object.content = tc::content_hash(shared);
  Entry& entry = *objects_.emplace(shared, std::move(object)).first;
  wanted_.push_back(&entry);
  return entry;
}

void SharedActions::want(const tc::RuleSpec& rule) {
  for_each_shared(rule, [&](const tc::Action& action) {
    const auto found = objects_.find(View{action.kind, rule.skip_hw});
    if (found == objects_.end())
      note(action, rule.skip_hw);
    else if (found->second.index != 0 && found->second.reference.empty())
      (void)refer(*found);
  });
}

void SharedActions::want_intact(const tc::RuleSpec& rule) {
  for_each_shared(rule, [&](const tc::Action& action) {
    if (find(action, rule.skip_hw) != nullptr) return;
    if (changed_.contains(tc::content_hash(tc::SharedAction{action.kind, rule.skip_hw}))) note(action, rule.skip_hw);
  });
}

// What it is written from has been encoded before, as an object, so it cannot fail.
Result<void> SharedActions::refer(Entry& entry) {
  auto reference = tc::encode_reference(entry.first, entry.second.index);
  if (!reference) return Unexpected(reference.error());
  entry.second.reference = std::move(*reference);
  return {};
}

Result<std::vector<std::string>> SharedActions::ready(netlink::Transport& route) {
  auto repaired = repair(route);
  if (!repaired) return repaired;
  std::vector<Entry*> missing;
  for (Entry* entry : wanted_)
    if (entry->second.index == 0 && !entry->second.refused) missing.push_back(entry);
  for (unsigned round = 1; !missing.empty(); ++round) {
    auto taken = make(route, missing);
    if (!taken) return Unexpected(taken.error());
    missing = std::move(*taken);
    if (round < kRoundsMax) continue;
    for (Entry* entry : missing) {
      entry->second.refused =
          Error{Errc::conflict, EEXIST, "others take every number that is free for a shared action", {}};
    }
    missing.clear();
  }
  for (Entry* entry : wanted_) {
    if (entry->second.index == 0) continue;
    if (auto referred = refer(*entry); !referred) return Unexpected(referred.error());
  }
  wanted_.clear();
  return repaired;
}

// In place: at no time does a packet meet a rule without its action, and the rules need no write.
Result<std::vector<std::string>> SharedActions::repair(netlink::Transport& route) {
  std::vector<std::string> lines;
  std::vector<Entry*> attempts;
  netlink::Bytes requests;
  for (Entry* entry : wanted_) {
    const auto changed = changed_.find(entry->second.content);
    if (changed == changed_.end()) continue;
    const tc::ActionObject object{entry->first, changed->second.index, cookie_of(entry->second.content)};
    if (auto put = tc::encode_action_add(requests, object, tc::AddMode::replace); !put) return Unexpected(put.error());
    attempts.push_back(entry);
  }
  if (attempts.empty()) return lines;
  auto transacted = route.transact(requests, [&](size_t i, const netlink::Answer& answer) {
    auto& [action, object] = *attempts[i];
    const auto changed = changed_.find(object.content);
    const std::string text = object_text(object.kind, changed->second.index);
    if (!answer) {
      object.refused = while_doing(answer.error(), text);
      return;
    }
    object.index = changed->second.index;
    object.bound = changed->second.bound;
    changed_.erase(changed);
    lines.push_back(text + ": " + tc::to_text(tc::Action{action.kind}));
  });
  if (!transacted) return Unexpected(while_doing(transacted.error(), "repair shared actions"));
  return lines;
}

// Returns those whose number somebody was faster to take.
Result<std::vector<SharedActions::Entry*>> SharedActions::make(netlink::Transport& route,
                                                               const std::vector<Entry*>& missing) {
  struct Attempt {
    Entry* entry;
    uint32_t index;
  };
  std::vector<Attempt> attempts;
  netlink::Bytes requests;
  for (Entry* entry : missing) {
    auto& [action, object] = *entry;
    const uint32_t index = free_number(object.kind);
    auto put = tc::encode_action_add(requests, {action, index, cookie_of(object.content)}, tc::AddMode::create);
    if (!put)
      object.refused = put.error();
    else
      attempts.push_back({entry, index});
  }
  std::vector<Entry*> taken;
  auto transacted = route.transact(requests, [&](size_t i, const netlink::Answer& answer) {
    const auto& [entry, index] = attempts[i];
    Object& object = entry->second;
    if (answer) {
      object.index = index;
      ++count_;
    } else if (answer.error().sys_errno == EEXIST) {
      taken.push_back(entry);
    } else {
      object.refused = while_doing(answer.error(), object_text(object.kind, index));
    }
  });
  if (!transacted) return Unexpected(while_doing(transacted.error(), "make shared actions"));
  return taken;
}

// The lowest of our range that nobody has, as far as is known.
uint32_t SharedActions::free_number(std::string_view kind) {
  std::set<uint32_t>& taken = taken_[kind];
  uint32_t& next = next_.try_emplace(kind, limits::kSharedActionFirst).first->second;
  while (taken.contains(next)) ++next;
  taken.insert(next);
  return next;
}

std::span<const uint8_t> SharedActions::reference(const tc::Action& action, bool skip_hw) const {
  const Object* object = find(action, skip_hw);
  return object == nullptr ? std::span<const uint8_t>() : object->reference;
}

const Error* SharedActions::refusal(const tc::RuleSpec& rule) const {
  for (const tc::Action& action : rule.actions) {
    if (!action.shared) continue;
    const Object* object = find(action, rule.skip_hw);
    if (object != nullptr && object->refused) return &*object->refused;
  }
  return nullptr;
}

Result<size_t> SharedActions::drop_unused(netlink::Transport& route) {
  if (auto looked = look(route); !looked) return Unexpected(looked.error());
  netlink::Bytes requests;
  Result<void> put;
  const auto drop = [&](const Object& object) {
    if (put && object.bound == 0) put = tc::encode_action_delete(requests, object.kind, object.index);
  };
  for (const auto& [action, object] : objects_) drop(object);
  for (const auto& [content, object] : changed_) drop(object);
  for (const Object& object : stale_) drop(object);
  if (!put) return Unexpected(put.error());
  if (requests.empty()) return size_t{0};
  // A refusal means that a filter refers to it after all, or that it is gone; the next look tells.
  size_t dropped = 0;
  auto transacted =
      route.transact(requests, [&dropped](size_t, const netlink::Answer& answer) { dropped += answer ? 1U : 0U; });
  if (!transacted) return Unexpected(while_doing(transacted.error(), "delete shared actions"));
  if (auto looked = look(route); !looked) return Unexpected(looked.error());
  return dropped;
}

}  // namespace sepal::agent
