// act_pedit in extended mode: `action pedit ex munge …`. Words on the wire are the packet's memory as it lies there,
// and the kernel's mask says which bits to keep. PARMS_EX holds the words, KEYS_EX each word's header and command; the
// kernel wants both. Governed by linux/tc_act/tc_pedit.h and net/sched/act_pedit.c.
#include <arpa/inet.h>
#include <linux/tc_act/tc_pedit.h>

#include <algorithm>

#include "tc/codec/actions.hpp"
#include "tc/codec/options.hpp"

namespace sepal::tc {
namespace {

constexpr size_t kSelSize = sizeof(tc_pedit_sel);  // without its keys
constexpr size_t kKeySize = sizeof(tc_pedit_key);

// One nested TCA_PEDIT_KEY_EX per word, in the order of the words.
Result<bool> decode_keys_ex(std::span<const uint8_t> region, std::vector<PeditKey>& keys) {
  struct Walk {
    std::vector<PeditKey>& keys;
    size_t at = 0;
    bool modelled = true;
  } walk{keys};
  auto walked = netlink::for_each_attr(region, [&walk](const netlink::Attr& attr) -> Result<void> {
    auto ex = Options<TCA_PEDIT_KEY_EX_MAX>::parse(attr.payload);
    if (!ex) return Unexpected(ex.error());
    if (attr.type != TCA_PEDIT_KEY_EX || walk.at == walk.keys.size()) {
      walk.modelled = false;
      return {};
    }
    const uint16_t header = ex->u16(TCA_PEDIT_KEY_EX_HTYPE, TCA_PEDIT_KEY_EX_HDR_TYPE_NETWORK);
    const uint16_t command = ex->u16(TCA_PEDIT_KEY_EX_CMD, TCA_PEDIT_KEY_EX_CMD_SET);
    if (ex->malformed()) return malformed_options("pedit");
    if (header > TCA_PEDIT_HDR_TYPE_MAX || command > TCA_PEDIT_CMD_MAX) {
      walk.modelled = false;
      return {};
    }
    PeditKey& key = walk.keys[walk.at++];
    key.header = static_cast<PeditKey::Header>(header);  // our enumerators have the kernel's numbers
    key.command = static_cast<PeditKey::Command>(command);
    return {};
  });
  if (!walked) return Unexpected(walked.error());
  return walk.modelled && walk.at == keys.size();
}

}  // namespace

static_assert(static_cast<int>(PeditKey::Header::network) == TCA_PEDIT_KEY_EX_HDR_TYPE_NETWORK);
static_assert(static_cast<int>(PeditKey::Header::eth) == TCA_PEDIT_KEY_EX_HDR_TYPE_ETH);
static_assert(static_cast<int>(PeditKey::Header::ip4) == TCA_PEDIT_KEY_EX_HDR_TYPE_IP4);
static_assert(static_cast<int>(PeditKey::Header::ip6) == TCA_PEDIT_KEY_EX_HDR_TYPE_IP6);
static_assert(static_cast<int>(PeditKey::Header::tcp) == TCA_PEDIT_KEY_EX_HDR_TYPE_TCP);
static_assert(static_cast<int>(PeditKey::Header::udp) == TCA_PEDIT_KEY_EX_HDR_TYPE_UDP);
static_assert(static_cast<int>(PeditKey::Command::set) == TCA_PEDIT_KEY_EX_CMD_SET);
static_assert(static_cast<int>(PeditKey::Command::add) == TCA_PEDIT_KEY_EX_CMD_ADD);

void encode_pedit(netlink::MessageBuilder& message, const Pedit& pedit, const Common& common) {
  std::array<uint8_t, kSelSize + UINT8_MAX * kKeySize> parms;  // NOLINT: filled as far as it is used
  auto sel = with<tc_pedit_sel>(common);
  sel.nkeys = static_cast<unsigned char>(pedit.keys.size());
  std::memcpy(parms.data(), &sel, kSelSize);
  size_t size = kSelSize;
  for (const PeditKey& key : pedit.keys) {
    tc_pedit_key word{};
    word.mask = htonl(~key.mask);
    word.val = htonl(key.value);
    word.off = key.offset;
    std::memcpy(parms.data() + size, &word, kKeySize);
    size += kKeySize;
  }
  message.put_bytes(TCA_PEDIT_PARMS_EX, parms.data(), size);
  const auto keys = message.nest(TCA_PEDIT_KEYS_EX);
  for (const PeditKey& key : pedit.keys) {
    const auto ex = message.nest(TCA_PEDIT_KEY_EX);
    message.put_u16(TCA_PEDIT_KEY_EX_HTYPE, static_cast<uint16_t>(key.header));
    message.put_u16(TCA_PEDIT_KEY_EX_CMD, static_cast<uint16_t>(key.command));
  }
}

Result<DecodedKind> decode_pedit(std::span<const uint8_t> options) {
  auto attrs = Options<TCA_PEDIT_MAX>::parse(options);
  if (!attrs) return Unexpected(attrs.error());
  // Without "ex" the same words come as TCA_PEDIT_PARMS, relative to the network header.
  const uint16_t type = attrs->has(TCA_PEDIT_PARMS_EX) ? TCA_PEDIT_PARMS_EX : TCA_PEDIT_PARMS;
  const auto sel = attrs->parms<tc_pedit_sel>(type);
  if (attrs->malformed() || attrs->bytes(type).size() < kSelSize + sel.nkeys * kKeySize) {
    return malformed_options("pedit");
  }
  const Common common = common_of(sel);
  bool modelled = sel.nkeys != 0 && attrs->only({type, TCA_PEDIT_KEYS_EX, TCA_PEDIT_TM, TCA_PEDIT_PAD});
  Pedit pedit;
  for (size_t i = 0; i < sel.nkeys; ++i) {
    tc_pedit_key word{};
    std::memcpy(&word, attrs->bytes(type).data() + kSelSize + i * kKeySize, kKeySize);
    PeditKey key;
    key.header = PeditKey::Header::network;
    key.mask = ~ntohl(word.mask);
    key.value = ntohl(word.val);
    key.offset = word.off;
    // An offset read from the packet (at, offmask, shift), and value bits that flip what the mask keeps.
    modelled = modelled && word.offmask == 0 && word.at == 0 && word.off % 4 == 0 && (key.value & ~key.mask) == 0;
    pedit.keys.push_back(key);
  }
  if (attrs->has(TCA_PEDIT_KEYS_EX)) {
    auto ex = decode_keys_ex(attrs->bytes(TCA_PEDIT_KEYS_EX), pedit.keys);
    if (!ex) return Unexpected(ex.error());
    modelled = modelled && *ex;
  }
  if (!modelled) return not_modelled("pedit", common, attrs->unknown());
  return DecodedKind{std::move(pedit), common, attrs->unknown()};
}

}  // namespace sepal::tc
