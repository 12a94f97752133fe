#include "server/simulator/tse/make_tse.hpp"

#include <utility>

#include "server/simulator/factory_parts.hpp"
#include "server/simulator/tse/cryptovision_stick.hpp"
#include "server/simulator/tse/diebold_stick.hpp"
#include "server/simulator/tse/swissbit_medium.hpp"

namespace tillbridge::simulator::tse {
namespace {

template <typename To, typename From>
void take(To& member, const std::optional<From>& configured) {
  if (configured) member = static_cast<To>(*configured);
}

template <std::intmax_t per_second>
void take_duration(Duration& member, const std::optional<std::uint32_t>& configured) {
  if (configured) {
    member = std::chrono::duration<std::int64_t, std::ratio<1, per_second>>(*configured);
  }
}

void take_timing(Timing& timing, const TseOptions& options) {
  take_duration<1000>(timing.signing, options.signing_ms);
  take_duration<1000>(timing.signing_jitter, options.signing_jitter_ms);
  take_duration<1000>(timing.self_test, options.self_test_ms);
  take_duration<1000>(timing.start_up, options.start_up_ms);
  take_duration<1>(timing.sleep_after, options.sleep_after_s);
  take_duration<1000>(timing.wake_up, options.wake_up_ms);
  timing.sleep_loses_answer = options.sleep_loses_answer;
  take_duration<1000>(timing.export_first_byte, options.export_first_byte_ms);
  if (options.export_kib_per_s)
    timing.export_bytes_per_s = std::uint64_t{*options.export_kib_per_s} << 10U;
}

Status take_core(CoreOptions& core, const TseOptions& options) {
  if (!options.curve.empty()) {
    using evidence::Curve;
    bool known = false;
    for (const Curve curve :
         {Curve::p256, Curve::p384, Curve::brainpool_p256r1, Curve::brainpool_p384r1}) {
      if (options.curve != evidence::name_of(curve)) continue;
      core.curve = curve;
      core.hash = evidence::usual_hash(curve);
      known = true;
    }
    if (!known) {
      return wrong_option("curve", options.curve,
                          "must be P-256, P-384, brainpoolP256r1 or brainpoolP384r1");
    }
  }
  take(core.most_signatures, options.most_signatures);
  take(core.most_clients, options.most_clients);
  take(core.most_open_transactions, options.most_open_transactions);
  take(core.certificate_end, options.certificate_end_s);
  take_duration<1>(core.time_valid, options.time_valid_s);
  take_duration<1>(core.self_test_valid, options.self_test_valid_s);
  if (options.store_mib) core.store_bytes = std::uint64_t{*options.store_mib} << 20U;
  core.clock_rate = options.clock_rate;
  return {};
}

Result<std::unique_ptr<Store>> open_store(const TseOptions& options) {
  if (options.state.empty()) return make_memory_store();
  return open_folder_store(options.state);
}

Result<std::unique_ptr<TseCore>> open_core(CoreOptions core, const TseOptions& options) {
  if (const Status status = take_core(core, options); !status) return status.error();
  auto store = open_store(options);
  if (!store) return store.error();
  return TseCore::open(std::move(core), std::move(*store));
}

/// The front ends format a blank disk themselves.
Status leave_blank(Medium& /*disk*/) {
  return {};
}

Result<std::unique_ptr<Device>> stick_with(std::unique_ptr<Medium> medium,
                                           const StickOptions& stick,
                                           std::shared_ptr<Bench> bench) {
  return std::unique_ptr<Device>(
      std::make_unique<MassStorageStick>(std::move(medium), stick, std::move(bench)));
}

Result<std::unique_ptr<Device>> make_cryptovision(const DeviceOptions& options) {
  StickOptions defaults;
  defaults.product_id = 0x0003;
  defaults.product = "Simulated cryptovision TSE";
  defaults.inquiry_product = "Simulated TSE";
  const auto stick = stick_options(options, std::move(defaults));
  if (!stick) return stick.error();

  auto disk = open_disk(options, leave_blank);
  if (!disk) return disk.error();
  auto core = open_core(cryptovision_core_options(), options.tse);
  if (!core) return core.error();
  Timing timing = cryptovision_timing();
  take_timing(timing, options.tse);
  CryptovisionDisk fresh;
  if (!options.label.empty()) fresh.label = options.label;
  fresh.cluster_bytes = options.cluster_bytes;
  auto bench = std::make_shared<Bench>(options.seed);
  auto medium =
      make_cryptovision_medium(std::move(*disk), fresh, std::move(*core), timing, {}, bench);
  if (!medium) return medium.error();
  return stick_with(std::move(*medium), *stick, bench);
}

Result<std::unique_ptr<Device>> make_swissbit(const DeviceOptions& options) {
  StickOptions defaults;
  defaults.product_id = 0x0004;
  defaults.product = "Simulated Swissbit TSE";
  defaults.inquiry_product = "Simulated TSE";
  const auto stick = stick_options(options, std::move(defaults));
  if (!stick) return stick.error();

  SwissbitOptions card;
  if (!options.label.empty()) card.label = options.label;
  card.cluster_bytes = options.cluster_bytes;
  auto disk = open_disk(options, leave_blank);
  if (!disk) return disk.error();
  const auto layout = swissbit_layout(**disk, card);
  if (!layout) return layout.error();

  CoreOptions core_options = swissbit_core_options(card);
  core_options.store_bytes = store_bytes_of(*layout);
  auto core = open_core(std::move(core_options), options.tse);
  if (!core) return core.error();
  Timing timing = swissbit_timing();
  take_timing(timing, options.tse);
  auto bench = std::make_shared<Bench>(options.seed);
  auto medium = SwissbitMedium::create(std::move(*disk), std::move(*core), timing, card, bench);
  if (!medium) return medium.error();
  return stick_with(std::move(*medium), *stick, bench);
}

Result<std::unique_ptr<Device>> make_diebold(const DeviceOptions& options) {
  DieboldOptions diebold;
  diebold.serial = serial_options(options, std::move(diebold.serial));
  diebold.seed = options.seed;
  take_timing(diebold.timing, options.tse);
  take_duration<1000>(diebold.packet_gap, options.tse.packet_gap_ms);
  if (const Status status = take_core(diebold.core, options.tse); !status) return status.error();
  auto store = open_store(options.tse);
  if (!store) return store.error();
  auto stick = DieboldStick::create(std::move(diebold), std::move(*store));
  if (!stick) return stick.error();
  return std::unique_ptr<Device>(std::move(*stick));
}

}  // namespace

Result<std::unique_ptr<Device>> make_tse(const DeviceOptions& options) {
  if (options.kind == "cryptovision") return make_cryptovision(options);
  if (options.kind == "swissbit") return make_swissbit(options);
  if (options.kind == "diebold") return make_diebold(options);
  return wrong_option(
      "kind", options.kind,
      "must be mass-storage, serial-echo, osr-fx2, cryptovision, swissbit or diebold");
}

}  // namespace tillbridge::simulator::tse
