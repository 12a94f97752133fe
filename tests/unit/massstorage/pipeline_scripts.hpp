// Seeded sessions for the pipeline: what class drivers do, and what none should. Each is played
// once with the pipeline and once without, and the two are compared.
#pragma once

#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "channel/massstorage/host.hpp"
#include "tests/unit/massstorage/pipeline_rig.hpp"

namespace tillbridge::massstorage::test {

/// How many seeded sessions a test plays: as many as take about a second under a sanitizer, unless
/// TILLBRIDGE_SESSIONS asks for more. The guard rails have tests of their own beside these.
inline std::uint64_t sessions(std::uint64_t usual) {
  const char* asked = std::getenv("TILLBRIDGE_SESSIONS");
  return asked == nullptr ? usual : std::strtoull(asked, nullptr, 10);
}

/// Numbers from a seed, or from a fuzzer's bytes.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  explicit Dice(ByteView bytes) : bytes_(bytes.begin(), bytes.end()) {}
  /// Uniform in [0, below).
  std::uint32_t below(std::uint32_t below) {
    if (bytes_.empty()) return static_cast<std::uint32_t>(random_() % below);
    if (used_ + 2 > bytes_.size()) return 0;
    const auto number = static_cast<std::uint32_t>(bytes_[used_] | bytes_[used_ + 1] << 8U);
    used_ += 2;
    return number % below;
  }
  bool one_in(std::uint32_t chances) { return below(chances) == chances - 1; }
  template <typename T>
  T of(std::initializer_list<T> values) {
    return values.begin()[below(static_cast<std::uint32_t>(values.size()))];
  }

 private:
  std::mt19937_64 random_;
  Bytes bytes_;
  std::size_t used_ = 0;
};

inline Bytes pattern(std::size_t size, std::uint32_t salt) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::uint8_t>((i * 7 + i / 512 * 13 + salt) & 0xFFU);
  }
  return bytes;
}

/// The stick, its faults and the link: everything but who uses it.
inline RigOptions roll_rig(Dice& dice, bool one_piece) {
  using simulator::FaultAction;
  using simulator::FaultPoint;
  RigOptions options;
  options.delay = std::chrono::microseconds(dice.of({0, 100, 2500, 20000}));
  options.stick.delay = std::chrono::microseconds(dice.of({0, 0, 30, 400}));
  options.stick.halts_on_short_data = dice.below(2) == 0;
  options.stick.speed = dice.one_in(4) ? usb::Speed::full : usb::Speed::high;
  options.stick.write_protected = dice.one_in(8);
  options.seed = dice.below(1000);
  const std::uint32_t faults = dice.of({0U, 0U, 1U, 2U, 3U});
  for (std::uint32_t i = 0; i < faults; ++i) {
    simulator::Fault fault;
    fault.point = dice.of({FaultPoint::command, FaultPoint::data, FaultPoint::status});
    fault.action =
        dice.of({FaultAction::stall, FaultAction::stall, FaultAction::stall, FaultAction::delay,
                 FaultAction::short_data, FaultAction::wrong_residue, FaultAction::phase_error,
                 FaultAction::silence, FaultAction::bit_flip, FaultAction::torn_write,
                 FaultAction::unplug, FaultAction::dead, FaultAction::power_cycle});
    // Which bit flips depends on how long the piece is.
    if (fault.action == FaultAction::bit_flip && !one_piece) fault.action = FaultAction::stall;
    fault.skip = dice.below(6);
    fault.times = dice.of({1U, 1U, 2U});
    fault.amount_ms = fault.action == FaultAction::delay ? dice.of({50U, 13000U}) : 0U;
    options.faults.push_back(fault);
  }
  return options;
}

/// A command for the disk, and what the host expects of it: often the truth, sometimes one of the
/// other cases of Bulk-Only Transport 6.7.
inline Command roll_command(Dice& dice, std::uint32_t number) {
  const std::uint32_t block = dice.one_in(12) ? 250U : dice.below(16);
  const auto count = static_cast<std::uint16_t>(dice.of({1, 1, 2, 3, 8, 9}));
  const std::uint32_t bytes = count * std::uint32_t{simulator::block_bytes};
  const auto in = [](const Cdb& cdb, std::uint32_t length) {
    return Command{cdb, DataDirection::in, length, {}, 0};
  };
  Command command;
  switch (dice.below(9)) {
    case 0:
      command.cdb = scsi::test_unit_ready();
      break;
    case 1:
      command = in(scsi::inquiry(36), 36);
      break;
    case 2:
      command = in(scsi::request_sense(), 18);
      break;
    case 3:
      command = in(scsi::read_capacity_10(), 8);
      break;
    case 4:
      command = in(scsi::mode_sense_6(0x3F, 192), 192);
      break;
    case 5:
      command.cdb = scsi::synchronize_cache_10();
      break;
    case 6:
      command = in(scsi::read_10(block, count), bytes);
      break;
    default:
      command.cdb = scsi::write_10(block, count);
      command.direction = DataDirection::out;
      command.data = pattern(bytes, number);
      break;
  }
  if (dice.one_in(6)) {  // Hn, Hi or Ho, whatever the device intends
    command.direction = dice.of({DataDirection::none, DataDirection::in, DataDirection::out});
    command.length = dice.of({13U, 31U, 512U, 600U, 1024U, 1536U, 4096U});
    command.data =
        command.direction == DataDirection::out ? pattern(command.length, number) : Bytes{};
  }
  if (dice.one_in(16)) command.lun = 1;
  return command;
}

// --- class drivers -------------------------------------------------------------------------------

struct DriverScript {
  RigOptions rig;
  HostOptions host;
  std::vector<Command> commands;
};

inline DriverScript roll_driver_script(Dice& dice) {
  DriverScript script;
  const bool one_piece = dice.below(2) == 0;
  script.rig = roll_rig(dice, one_piece);
  script.host.max_transfer_bytes = one_piece ? 65536 : dice.of({1024U, 2048U});
  script.host.automatic_sense = dice.below(2) == 0;
  const std::uint32_t commands = 2 + dice.below(6);
  for (std::uint32_t i = 0; i < commands; ++i) script.commands.push_back(roll_command(dice, i));
  return script;
}

/// What a class driver and its stick went through, without how it was moved.
struct Story {
  std::vector<std::string> lines;
  Deeds deeds;
  std::string witness;
  std::string problem;
  PipelineCounters counters;
};

inline std::string text_of(const CommandResult& result) {
  std::string text = "outcome " + std::to_string(static_cast<int>(result.outcome));
  if (result.sense) text += " sense " + result.sense->text();
  text += " residue " + std::to_string(result.residue) + " data " +
          std::to_string(result.data.size()) + ':' + digest(result.data);
  if (result.needs_port_reset) text += " needs a port reset";
  return text;
}

/// What comes over a command in its middle.
struct Interruption {
  enum class Kind : std::uint8_t { given_up, stick_lost };
  Kind kind{};
  std::uint32_t after = 0;  ///< events
};

/// Runs what was started on `host` to its end; gives it up as a class driver does, when it takes
/// longer than five seconds or nothing happens any more.
inline std::optional<CommandResult> run(Rig& rig, BulkOnlyHost& host,
                                        std::optional<Interruption> interruption = {}) {
  const Instant patience = rig.now + std::chrono::seconds(5);
  std::optional<std::pair<usb::TransferId, usb::TransferId>> running;  // the host's id, the rig's
  bool given_up = false;
  for (std::uint32_t events = 0; events < 5000; ++events) {
    if (auto result = host.poll_result()) return result;
    if (const auto id = host.poll_cancel()) rig.cancel(running->second);
    if (auto transfer = host.poll_transfer()) {
      const usb::TransferId asked = transfer->id;
      running = std::pair(asked, rig.submit(std::move(*transfer)));
    }
    if (running) {
      if (auto completion = rig.take(running->second)) {
        completion->id = running->first;
        running.reset();
        host.complete(*completion);
        continue;
      }
    }
    if (interruption && events >= interruption->after) {
      if (interruption->kind == Interruption::Kind::stick_lost) {
        rig.lost();
      } else if (!given_up) {
        given_up = true;
        host.abort();
      }
      interruption.reset();
      continue;
    }
    if (!rig.step(given_up ? std::nullopt : std::optional(patience))) {
      if (given_up) return std::nullopt;  // not even the control endpoint answers
      given_up = true;
      host.abort();
    }
  }
  return std::nullopt;
}

inline BulkOnlyHost host_for(const RigOptions& options, const HostOptions& host) {
  simulator::MassStorageStick model(std::make_unique<simulator::MemoryMedium>(16), options.stick);
  return *BulkOnlyHost::create(model.description(), host);
}

inline Story play(const DriverScript& script, bool pipeline,
                  std::vector<std::string>* conversation = nullptr) {
  RigOptions options = script.rig;
  options.pipeline = pipeline;
  Rig rig(options);
  rig.conversation = conversation;
  Story story;
  BulkOnlyHost host = host_for(options, script.host);
  static_cast<void>(rig.wait(rig.control(usb::set_configuration(1))));
  for (const Command& command : script.commands) {
    if (!host.execute(command)) continue;
    const auto result = run(rig, host);
    story.lines.push_back(result ? text_of(*result) : "hangs");
    if (!result || result->outcome == Outcome::device_gone) break;
  }
  story.deeds = rig.deeds;
  story.witness = rig.witness();
  if (pipeline) story.counters = rig.counters();
  rig.lost();
  if (rig.open() != 0) rig.problem = "not every transfer ended";
  story.problem = rig.problem;
  return story;
}

// --- anybody ---------------------------------------------------------------------------------

/// One step of a session that keeps to no rules.
struct Step {
  enum class Kind : std::uint8_t { command, in, out, clear_in, clear_out, reset, harmless, select };
  Kind kind{};
  Bytes data;                ///< command, out
  std::uint32_t length = 0;  ///< in
  bool short_not_ok = false;
  bool at_once = false;  ///< does not wait for the step before
};

struct FreeScript {
  RigOptions rig;
  std::vector<Step> steps;
};

inline FreeScript roll_free_script(Dice& dice) {
  using Kind = Step::Kind;
  FreeScript script;
  script.rig = roll_rig(dice, false);
  // Faults are counted by how often their point is passed; a status that is read ahead and then
  // given up would count where one that nobody reads does not.
  for (auto& fault : script.rig.faults) {
    fault.point = simulator::FaultPoint::command;
    if (fault.amount_ms > 50) fault.amount_ms = 50;  // nobody here loses patience
  }
  const std::uint32_t commands = 2 + dice.below(4);
  std::uint32_t tag = 100;
  const auto add_in = [&](std::uint32_t length) {
    script.steps.push_back({Kind::in, {}, length, dice.one_in(8), false});
  };
  const auto odd_length = [&] {
    return dice.of({0U, 1U, 13U, 31U, 64U, 100U, 512U, 513U, 1024U, 4096U, 70000U});
  };
  const auto perturb = [&] {
    if (!dice.one_in(5)) return;
    switch (dice.below(7)) {
      case 0:
        add_in(odd_length());
        break;
      case 1:
        script.steps.push_back(
            {Kind::out, pattern(dice.of({0U, 31U, 64U, 512U, 600U, 2048U}), 9), 0, false, false});
        break;
      case 2:
        script.steps.push_back({Kind::clear_in, {}, 0, false, false});
        break;
      case 3:
        script.steps.push_back({Kind::clear_out, {}, 0, false, false});
        break;
      case 4:
        script.steps.push_back({Kind::reset, {}, 0, false, false});
        break;
      case 5:
        script.steps.push_back({Kind::select, {}, 0, false, false});
        break;
      default:
        script.steps.push_back({Kind::harmless, {}, 0, false, dice.below(2) == 0});
        break;
    }
  };
  for (std::uint32_t i = 0; i < commands; ++i) {
    const Command command = roll_command(dice, i);
    CommandBlock block;
    block.tag = ++tag;
    block.data_length = command.direction == DataDirection::out
                            ? static_cast<std::uint32_t>(command.data.size())
                            : (command.direction == DataDirection::in ? command.length : 0);
    block.flags = command.direction == DataDirection::in ? CommandBlock::flag_in : std::uint8_t{0};
    block.lun = command.lun;
    block.cdb = command.cdb;
    Bytes wrapper = encode(block);
    if (dice.one_in(20)) wrapper[dice.below(4)] ^= 1U;  // no signature
    if (dice.one_in(30)) wrapper.resize(dice.of({30U, 13U, 0U, 31U}));
    script.steps.push_back({Kind::command, std::move(wrapper), 0, false, false});
    perturb();
    const std::uint32_t piece = dice.of({512U, 1024U, 65536U, 65536U});
    for (std::uint32_t moved = 0; moved < block.data_length && !dice.one_in(12);) {
      const std::uint32_t part = std::min(piece, block.data_length - moved);
      if (command.direction == DataDirection::in) {
        add_in(part);
      } else {
        const ByteView data = ByteView(command.data).subspan(moved, part);
        script.steps.push_back({Kind::out, Bytes(data.begin(), data.end()), 0, false, false});
      }
      script.steps.back().at_once = dice.one_in(4);
      moved += part;
      perturb();
    }
    if (!dice.one_in(12)) {
      add_in(dice.one_in(10) ? odd_length() : StatusBlock::size);
      script.steps.back().at_once = dice.one_in(6);
    }
    perturb();
  }
  return script;
}

/// How one command of a free session went.
struct Group {
  std::vector<std::string> ins;
  std::vector<std::string> outs;
  bool out_failed = false;         ///< data, not the command block
  bool out_after_failure = false;  ///< more was sent after that, which the stick had not asked for
  bool in_stalled = false;         ///< and was asked for once more
  bool not_taken = false;          ///< the command block
  bool recovered = false;          ///< it ended in reset recovery
  std::size_t deeds_before = 0;
};

struct FreeStory {
  std::vector<Group> groups;
  Deeds deeds;
  std::string problem;
  std::string last;  ///< what the stick says after all that
};

/// Plays the steps; what does not end by itself is cancelled. Whoever meets a stall clears it; an
/// IN that stalled is asked for once more, as class drivers do with the status. A command block
/// that is not taken, and an IN that stalls again, end in reset recovery, and the rest of the
/// command is left out.
class FreePlayer {
 public:
  FreePlayer(const FreeScript& script, bool pipeline,
             std::vector<std::string>* conversation = nullptr)
      : script_(script), rig_(with(script.rig, pipeline)) {
    rig_.conversation = conversation;
  }

  FreeStory play() {
    control(usb::set_configuration(1));
    story_.groups.emplace_back();
    for (std::size_t i = 0; i < script_.steps.size();) {
      if (script_.steps[i].kind == Step::Kind::command) {
        story_.groups.emplace_back();
        group().deeds_before = rig_.deeds.size();
        if (rig_.conversation != nullptr) {
          rig_.conversation->push_back("command " + std::to_string(story_.groups.size() - 1));
        }
      }
      std::size_t end = i + 1;
      while (end < script_.steps.size() && script_.steps[end].at_once &&
             script_.steps[end].kind != Step::Kind::command) {
        ++end;
      }
      // The command block first: what comes with a command that is not taken is nobody's business.
      const bool skip = group().recovered && script_.steps[i].kind != Step::Kind::command;
      if (!skip) play(i, end);
      i = end;
    }
    recover();
    finish();
    return std::move(story_);
  }

 private:
  struct Asked {
    const Step* step;
    usb::TransferId id;
  };

  static RigOptions with(RigOptions options, bool pipeline) {
    options.pipeline = pipeline;
    return options;
  }
  Group& group() { return story_.groups.back(); }

  void play(std::size_t first, std::size_t end) {
    std::vector<Asked> asked;
    for (std::size_t i = first; i < end; ++i)
      asked.push_back({&script_.steps[i], start(script_.steps[i])});
    while (std::any_of(asked.begin(), asked.end(),
                       [&](const Asked& each) { return rig_.is_open(each.id); })) {
      if (rig_.step()) continue;
      for (auto each = asked.rbegin(); each != asked.rend(); ++each) {
        if (rig_.is_open(each->id)) rig_.cancel(each->id);
      }
      while (rig_.step()) {
      }
      break;
    }
    for (const Asked& each : asked) {
      if (!group().recovered) settle(each);
    }
  }

  usb::TransferId start(const Step& step) {
    // Who resets while something is on its way to the stick cannot know whether it gets there, with
    // the pipeline or without. Here it is given the time.
    const bool ends_outs = step.kind == Step::Kind::clear_out || step.kind == Step::Kind::reset ||
                           step.kind == Step::Kind::select;
    while (ends_outs && rig_.step()) {
    }
    switch (step.kind) {
      case Step::Kind::command:
      case Step::Kind::out:
        return rig_.out(step.data);
      case Step::Kind::in:
        return rig_.in(step.length, step.short_not_ok);
      case Step::Kind::clear_in:
        return rig_.control(usb::clear_halt(Rig::in_pipe));
      case Step::Kind::clear_out:
        return rig_.control(usb::clear_halt(Rig::out_pipe));
      case Step::Kind::reset:  // both halts belong to it: one may be there that nobody has met yet
        control(usb::bulk_only_reset(0));
        control(usb::clear_halt(Rig::in_pipe));
        return rig_.control(usb::clear_halt(Rig::out_pipe));
      case Step::Kind::select:
        return rig_.control(usb::set_configuration(1));
      default:
        return rig_.control(usb::get_descriptor(1, 0, 0, 18));
    }
  }

  static std::string text_of(const usb::Completion& completion) {
    return std::string(usb::name(completion.status)) + ' ' +
           std::to_string(completion.actual_length) + ':' + digest(completion.data);
  }

  void settle(const Asked& asked) {
    auto completion = rig_.take(asked.id);
    if (!completion) {
      group().ins.emplace_back("never ends");
      return;
    }
    const bool stalled = completion->status == usb::TransferStatus::stall;
    const bool done = completion->status == usb::TransferStatus::success;
    switch (asked.step->kind) {
      case Step::Kind::command:
        if (!done) {
          group().not_taken = true;
          return recover();
        }
        group().outs.push_back(text_of(*completion));
        return;
      case Step::Kind::out:
        group().outs.push_back(text_of(*completion));
        if (group().out_failed) group().out_after_failure = true;
        if (!done) group().out_failed = true;
        if (stalled) control(usb::clear_halt(Rig::out_pipe));
        return;
      case Step::Kind::in:
        if (stalled && completion->data.empty()) {
          group().in_stalled = true;
          control(usb::clear_halt(Rig::in_pipe));
          completion = ended(rig_.in(asked.step->length, asked.step->short_not_ok));
          if (completion->status == usb::TransferStatus::stall) return recover();
        } else if (stalled) {
          control(usb::clear_halt(Rig::in_pipe));
        }
        if (completion->status == usb::TransferStatus::device_gone) return recover();
        group().ins.push_back(text_of(*completion));
        return;
      default:
        return;
    }
  }

  std::optional<usb::Completion> ended(usb::TransferId id) {
    auto completion = rig_.wait(id);
    if (completion) return completion;
    rig_.cancel(id);
    completion = rig_.wait(id);
    if (completion) return completion;
    return usb::Completion{id, usb::TransferStatus::timeout, 0, {}, {}};
  }

  void control(const usb::SetupPacket& setup) { static_cast<void>(ended(rig_.control(setup))); }

  void recover() {
    group().recovered = true;
    while (rig_.step()) {
    }
    control(usb::bulk_only_reset(0));
    control(usb::clear_halt(Rig::in_pipe));
    control(usb::clear_halt(Rig::out_pipe));
  }

  void finish() {
    BulkOnlyHost host = host_for(script_.rig, {});
    for (std::uint32_t i = 0; i < 3; ++i) {
      static_cast<void>(host.read(0, 16));
      const auto result = run(rig_, host);
      story_.last += result ? test::text_of(*result) + "; " : "hangs";
      if (!result) break;
    }
    story_.deeds = rig_.deeds;
    rig_.lost();
    if (rig_.open() != 0) rig_.problem = "not every transfer ended";
    story_.problem = rig_.problem;
  }

  const FreeScript& script_;
  Rig rig_;
  FreeStory story_;
};

inline std::string lines(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) all += "  " + text + '\n';
  return all;
}

/// The same for class drivers, to the last bit of every command's result.
inline std::string difference(const Story& plain, const Story& piped) {
  if (!plain.problem.empty()) return "plain: " + plain.problem;
  if (!piped.problem.empty()) return piped.problem;
  if (plain.lines != piped.lines) {
    return "without:\n" + lines(plain.lines) + "with:\n" + lines(piped.lines);
  }
  if (plain.deeds != piped.deeds) return "the stick did something else";
  if (plain.witness != piped.witness) return plain.witness + " without, " + piped.witness;
  return {};
}

/// Nothing, or how the two differ. An OUT that failed without the pipeline may have been told as
/// done with it: then one IN stalled once more, which the player took no note of.
inline std::string difference(const FreeStory& plain, const FreeStory& piped) {
  if (!plain.problem.empty()) return "plain: " + plain.problem;
  if (!piped.problem.empty()) return piped.problem;
  if (plain.groups.size() != piped.groups.size()) return "not the same commands";
  for (std::size_t i = 0; i < plain.groups.size(); ++i) {
    const Group& one = plain.groups[i];
    const Group& other = piped.groups[i];
    const std::string where = "command " + std::to_string(i) + ": ";
    // With the pipeline the session hears of a failed OUT one transfer later. What it sends until
    // then, or instead of asking, is not what it would send knowing of it: no use to go on.
    // And one that failed with something else than a stall can only end in reset recovery.
    const bool told = one.recovered == other.recovered &&
                      (other.recovered || other.out_failed || other.in_stalled);
    const bool unaware =
        one.out_after_failure || (one.not_taken && !other.recovered) || (one.out_failed && !told);
    if (unaware) {
      const auto same = static_cast<std::ptrdiff_t>(one.deeds_before);
      const bool equal =
          piped.deeds.size() >= one.deeds_before &&
          std::equal(plain.deeds.begin(), plain.deeds.begin() + same, piped.deeds.begin());
      return equal ? "" : "the stick did something else";
    }
    if (one.not_taken) continue;
    if (one.recovered != other.recovered) {
      return where + (one.recovered ? "recovered only without" : "recovered only with");
    }
    if (one.recovered) continue;
    if (one.ins != other.ins) {
      for (std::size_t k = 0; k < std::max(one.ins.size(), other.ins.size()); ++k) {
        const std::string a = k < one.ins.size() ? one.ins[k] : "nothing";
        const std::string b = k < other.ins.size() ? other.ins[k] : "nothing";
        if (a != b)
          return where + "IN " + std::to_string(k) + " is " + a + " without, " + b + " with";
      }
    }
    if (!one.out_failed && one.outs != other.outs) return where + "OUT differs";
  }
  if (plain.deeds != piped.deeds) return "the stick did something else";
  if (plain.last != piped.last) return "afterwards: " + plain.last + " without, " + piped.last;
  return {};
}

}  // namespace tillbridge::massstorage::test
