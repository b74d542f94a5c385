// Rules across fields: all violations at once. The parts are in validate_<topic>.cpp.
#include "config/read.hpp"
#include "config/review.hpp"

namespace sepal::config {

std::string Review::stands_at(Location where) const {
  std::string place = where.line == 0 ? std::string() : faults.place(where);
  return place.empty() ? "" : " (at " + place + ")";
}

void validate(Review& review) {
  validate_host(review);
  validate_tenants(review);
  validate_networks(review);
  validate_devices(review);
  validate_routes(review);
  validate_nat(review);
  validate_groups(review);
}

std::vector<Fault> validate(const Config& config) {
  Faults faults;
  for (const std::string& file : config.files) faults.add_file(file);
  Doubts doubts;
  doubts.tenants.resize(config.tenants.size());
  Places places;
  Review review{config, doubts, places, faults};
  validate(review);
  return faults.take();
}

}  // namespace sepal::config
