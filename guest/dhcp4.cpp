// RFC 2131 section 4.3 for a server that knows its one client: what is asked for is right or wrong, never free.
#include "guest/dhcp4.hpp"

#include <utility>

#include "guest/dhcp4_reply.hpp"

namespace sepal::guest {
namespace {

using Bytes = std::vector<uint8_t>;
using Option = Dhcp4Option;
using Type = Dhcp4Type;

std::string_view name_of(Type type) {
  switch (type) {
    case Type::discover: return "DHCPDISCOVER";
    case Type::offer: return "DHCPOFFER";
    case Type::request: return "DHCPREQUEST";
    case Type::decline: return "DHCPDECLINE";
    case Type::ack: return "DHCPACK";
    case Type::nak: return "DHCPNAK";
    case Type::release: return "DHCPRELEASE";
    case Type::inform: return "DHCPINFORM";
  }
  return "";
}

const Address* find(const Guest& guest, const IpAddr& address) {
  for (const Address& own : guest.addresses)
    if (own.address.is_v4() && own.address == address) return &own;
  return nullptr;
}

// The port's address of this network that a client may keep; else its first, which it gets.
const Address* choose(const Guest& guest, const std::optional<IpAddr>& wish) {
  if (const Address* wished = wish ? find(guest, *wish) : nullptr) return wished;
  for (const Address& own : guest.addresses)
    if (own.address.is_v4()) return &own;
  return nullptr;
}

bool is_us(const Guest& guest, const IpAddr& server) {
  return std::any_of(guest.addresses.begin(), guest.addresses.end(),
                     [&](const Address& own) { return own.gateway == server; });
}

void put(Bytes& bytes, const IpAddr& address) {
  bytes.insert(bytes.end(), address.bytes.begin(), address.bytes.begin() + static_cast<long>(address.size()));
}

Bytes bytes_of(const IpAddr& address) {
  Bytes bytes;
  put(bytes, address);
  return bytes;
}

Bytes bytes_of(uint32_t number) {
  return {static_cast<uint8_t>(number >> 24U), static_cast<uint8_t>(number >> 16U), static_cast<uint8_t>(number >> 8U),
          static_cast<uint8_t>(number)};
}

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

// As many as an option holds.
Bytes bytes_of(const std::vector<IpAddr>& addresses) {
  constexpr size_t kBytesMax = 252;
  Bytes bytes;
  for (const IpAddr& address : addresses)
    if (address.is_v4() && bytes.size() < kBytesMax) put(bytes, address);
  return bytes;
}

IpAddr broadcast_of(const IpPrefix& subnet) {
  IpAddr last = subnet.address;
  const IpAddr mask = subnet.mask();
  for (size_t i = 0; i < 4; ++i) last.bytes[i] = static_cast<uint8_t>(last.bytes[i] | ~mask.bytes[i]);
  return last;
}

// One reply while it is made; the order in which options are added is the order in which they matter.
class Making {
 public:
  Making(const Dhcp4Question& question, const Guest& guest, const Address& own, Type type)
      : question_(question), guest_(guest), own_(own) {
    reply_.type = type;
    reply_.id = question.id;
    reply_.flags = question.flags;
    reply_.client_mac = guest.mac;
    reply_.server_mac = guest.gateway_mac;
    reply_.server = own.gateway;
    reply_.size_max = std::min<size_t>(question.size_max, std::max<size_t>(guest.mtu, 576));
    add(Option::server, bytes_of(own.gateway));
    if (!question.client_id.empty()) add(Option::client_id, question.client_id);  // RFC 6842
  }

  void add_lease() {
    const uint64_t seconds = guest_.lease_seconds;
    add(Option::lease_seconds, bytes_of(guest_.lease_seconds));
    add(Option::renewal_seconds, bytes_of(static_cast<uint32_t>(seconds / 2)));
    add(Option::rebinding_seconds, bytes_of(static_cast<uint32_t>(seconds * 7 / 8)));
  }

  // A gateway that is not on the subnet is reached by a route of its own, which only option 121 can tell (RFC 3442:
  // instead of option 3). Who does not ask for it learns of a network of one address, beyond which all is the
  // gateway's: clients without option 121 know that case, and take no gateway outside their network otherwise.
  void add_network() {
    told_subnet_ = true;
    if (own_.subnet.contains(own_.gateway)) {
      add(Option::subnet_mask, bytes_of(own_.subnet.mask()));
      add(Option::routers, bytes_of(own_.gateway));
    } else if (question_.asks_for(Option::classless_routes) || question_.asks_for(Option::classless_routes_ms)) {
      Bytes routes{32};
      put(routes, own_.gateway);
      put(routes, IpAddr::v4(0, 0, 0, 0));
      routes.push_back(0);
      put(routes, own_.gateway);
      add(Option::subnet_mask, bytes_of(own_.subnet.mask()));
      for (const Option code : {Option::classless_routes, Option::classless_routes_ms})
        if (question_.asks_for(code)) add(code, routes);
    } else {
      told_subnet_ = false;
      add(Option::subnet_mask, bytes_of(IpAddr::v4(255, 255, 255, 255)));
      add(Option::routers, bytes_of(own_.gateway));
    }
  }

  // What a guest boots from comes first: without it there is nobody to use the rest.
  void add_rest() {
    constexpr uint8_t kBroadcastLengthMax = 30;  // longer networks have no broadcast address (RFC 3021)
    add_boot();
    if (told_subnet_ && own_.subnet.length <= kBroadcastLengthMax)
      wish(Option::broadcast_address, bytes_of(broadcast_of(own_.subnet)));
    wish(Option::dns, bytes_of(guest_.dns));
    wish(Option::mtu, {static_cast<uint8_t>(guest_.mtu >> 8U), static_cast<uint8_t>(guest_.mtu)});
    wish(Option::hostname, bytes_of(guest_.hostname));
    wish(Option::domain, bytes_of(guest_.domain));
    wish(Option::ntp, bytes_of(guest_.ntp));
  }

  Answer finish(std::string what) {
    what += ": " + std::string(name_of(reply_.type));
    const char* before = ", without option ";
    for (const Option code : cut_to_size(reply_))
      what += std::exchange(before, ", ") + std::to_string(static_cast<unsigned>(code));
    auto frame = write_dhcp4(reply_);
    if (!frame) return {std::nullopt, what + " could not be written"};
    return {std::move(frame), std::move(what)};
  }

  Dhcp4Reply& reply() { return reply_; }

 private:
  void add(Option code, Bytes bytes) { reply_.options.emplace_back(code, std::move(bytes)); }
  // What a client gets when it asks, or when it leaves the choice to us.
  void wish(Option code, Bytes bytes) {
    if (!bytes.empty() && (!question_.wishes || question_.asks_for(code))) add(code, std::move(bytes));
  }

  // iPXE, once loaded, asks again and must not be told to load itself.
  void add_boot() {
    if (!question_.pxe && !question_.http && !question_.ipxe) return;
    const Boot& boot = guest_.boot;
    const std::string& file = question_.ipxe && !boot.ipxe.empty() ? boot.ipxe : boot.file;
    if (boot.server && boot.server->is_v4()) {
      reply_.next = *boot.server;
      add(Option::boot_server, bytes_of(boot.server->to_string()));
    }
    if (file.empty()) return;
    // By this alone UEFI knows an offer for one of HTTP boot (UEFI 2.10, section 24.7).
    if (question_.http) add(Option::vendor_class, bytes_of(std::string("HTTPClient")));
    constexpr size_t kFieldBytes = 127;
    if (file.size() <= kFieldBytes) reply_.file = file;
    add(Option::boot_file, bytes_of(file));
  }

  const Dhcp4Question& question_;
  const Guest& guest_;
  const Address& own_;
  Dhcp4Reply reply_;
  bool told_subnet_ = false;  // the mask is the subnet's
};

// RFC 2131 section 4.1: where an answer goes when no relay is between.
std::optional<IpAddr> way_back(const Dhcp4Question& question, const IpAddr& yours) {
  constexpr uint16_t kBroadcast = 0x8000;
  if (!question.client.is_unspecified()) return question.client;
  if ((question.flags & kBroadcast) != 0) return std::nullopt;
  return yours;
}

Answer give(const Dhcp4Question& question, const Guest& guest, const Address& own, Type type, std::string what) {
  Making making(question, guest, own, type);
  making.reply().yours = own.address;
  if (type == Type::ack) making.reply().client = question.client;
  making.reply().to = way_back(question, own.address);
  making.add_lease();
  making.add_network();
  making.add_rest();
  return making.finish(std::move(what));
}

// Without a relay to everybody, for the client does not know its address any more; with nothing but who says so.
Answer refuse(const Dhcp4Question& question, const Guest& guest, const Address& any, std::string what) {
  return Making(question, guest, any, Type::nak).finish(std::move(what));
}

Answer answer_request(const Dhcp4Question& question, const Guest& guest, const Address& any) {
  const bool has_address = !question.client.is_unspecified();
  std::string state = "renewing or rebinding";
  IpAddr asked = question.client;
  if (question.server) {
    state = "selecting";
    asked = question.requested.value_or(question.client);
  } else if (!has_address && question.requested) {
    state = "init-reboot";
    asked = *question.requested;
  }
  std::string what = "DHCPREQUEST (" + state + ") of " + asked.to_string();
  if (question.server && !is_us(guest, *question.server))
    return {std::nullopt, what + " from another server, " + question.server->to_string()};
  if (asked.is_unspecified()) return {std::nullopt, "DHCPREQUEST that asks for no address"};
  const Address* own = find(guest, asked);
  if (own == nullptr) return refuse(question, guest, any, std::move(what));
  return give(question, guest, *own, Type::ack, std::move(what));
}

// The client has an address already, and wants the rest.
Answer answer_inform(const Dhcp4Question& question, const Guest& guest) {
  std::string what = "DHCPINFORM of " + question.client.to_string();
  const Address* own = find(guest, question.client);
  if (own == nullptr) return {std::nullopt, what + ", which is not the port's"};
  Making making(question, guest, *own, Type::ack);
  making.reply().client = question.client;
  making.reply().to = question.client;
  making.add_network();
  making.add_rest();
  return making.finish(std::move(what));
}

}  // namespace

Answer answer_dhcp4(FrameView question, const Guest& guest) {
  const auto read = read_dhcp4(question);
  if (!read) return {std::nullopt, "malformed DHCP: " + read.error()};
  const std::string what(name_of(read->type));
  if (read->relayed) return {std::nullopt, what + " through a relay"};
  if (read->mac != guest.mac) return {std::nullopt, what + " for another MAC address, " + read->mac.to_string()};
  const Address* first = choose(guest, read->requested);
  if (first == nullptr) return {std::nullopt, what + " from a port without IPv4 address"};
  switch (read->type) {
    case Type::discover: return give(*read, guest, *first, Type::offer, what);
    case Type::request: return answer_request(*read, guest, *first);
    case Type::inform: return answer_inform(*read, guest);
    case Type::release: return {std::nullopt, what + " of " + read->client.to_string()};
    case Type::decline:
      return {std::nullopt, what + " of " + read->requested.value_or(read->client).to_string() +
                                ": the guest says that another has it"};
    case Type::offer:
    case Type::ack:
    case Type::nak: break;
  }
  return {std::nullopt, what + ", which only servers say"};
}

}  // namespace sepal::guest
