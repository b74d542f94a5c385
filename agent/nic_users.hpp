// Who would be disturbed: collects the VFs in somebody's hands, for one refusal that names them all.
#pragma once

#include <string>

#include "agent/nic_state.hpp"

namespace sepal::agent {

class NicUsers {
 public:
  explicit NicUsers(const NicState& now) : now_(now) {}

  // A VF of ours. `why` follows the user's name.
  void check(uint16_t vf, const std::string& why = {}) {
    const NicFunction& function = now_.functions.at(vf);
    if (const auto user = user_of(function, now_.driver)) note(vf, function, *user + (why.empty() ? "" : " " + why));
  }
  // A VF of others: a driver is enough, for what it is used for is not ours to judge.
  void check_others(uint16_t vf) {
    const NicFunction& function = now_.functions.at(vf);
    if (!function.driver.empty()) note(vf, function, "not ours (nic.only), and bound to " + function.driver);
  }

  // `step` completes "NIC … is in use; it must be free …".
  [[nodiscard]] Result<void> refusal(const std::string& step) const {
    if (users_.empty()) return {};
    return fail(Errc::conflict, "NIC " + now_.pci + " must be free " + step + ": " + users_ +
                                    "; stop who uses them, or take a moment when nobody does");
  }

 private:
  void note(uint16_t vf, const NicFunction& function, const std::string& user) {
    if (!users_.empty()) users_ += "; ";
    users_ += "VF " + std::to_string(vf) + " (" + function.pci + ") is " + user;
  }

  const NicState& now_;
  std::string users_;
};

}  // namespace sepal::agent
