#include <cassert>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "tse/swissbit/protocol.hpp"
#include "tse/swissbit/text.hpp"

namespace tillbridge::tse::swissbit {
namespace {

constexpr std::size_t length_bytes = 2, opcode_bytes = 2;
constexpr std::size_t most_command_bytes = sector_bytes - length_bytes;

/// Texts stand behind their length, one byte.
void write_counted(ByteWriter& writer, std::string_view text) {
  assert(text.size() <= 0xFF);
  writer.u8(static_cast<std::uint8_t>(text.size()));
  write_text(writer, text);
}

std::string read_counted(ByteReader& reader) {
  return text_of_bytes(reader.take(reader.u8()));
}

/// Writes the parameters of each command and says its opcode.
struct Writing {
  ByteWriter& writer;

  Opcode operator()(const Login& login) const {
    writer.u8(static_cast<std::uint8_t>(login.user));
    write_counted(writer, login.pin);
    return Opcode::login;
  }
  Opcode operator()(const Logout& logout) const {
    writer.u8(static_cast<std::uint8_t>(logout.user));
    return Opcode::logout;
  }
  Opcode operator()(const ChangePuk& change) const {
    write_counted(writer, change.old_puk);
    write_counted(writer, change.new_puk);
    return Opcode::change_puk;
  }
  Opcode operator()(const ChangePin& change) const {
    writer.u8(static_cast<std::uint8_t>(change.user));
    write_counted(writer, change.old_pin);
    write_counted(writer, change.new_pin);
    return Opcode::change_pin;
  }
  Opcode operator()(const SelfTest& test) const {
    write_counted(writer, test.client);
    return Opcode::self_test;
  }
  Opcode operator()(const RegisterClient& client) const {
    write_counted(writer, client.client);
    return Opcode::register_client;
  }
  Opcode operator()(const DeregisterClient& client) const {
    write_counted(writer, client.client);
    return Opcode::deregister_client;
  }
  Opcode operator()(const ListClients& list) const {
    writer.u32be(list.skip);
    return Opcode::list_clients;
  }
  Opcode operator()(const EnableCtss& /*command*/) const { return Opcode::enable_ctss; }
  Opcode operator()(const DisableCtss& /*command*/) const { return Opcode::disable_ctss; }
  Opcode operator()(const Initialize& /*command*/) const { return Opcode::initialize; }
  Opcode operator()(const Decommission& /*command*/) const { return Opcode::decommission; }
  Opcode operator()(const SetTime& time) const {
    writer.u64be(time.unix_s);
    return Opcode::set_time;
  }
  Opcode operator()(const FetchAnswer& /*command*/) const { return Opcode::fetch_answer; }
  Opcode operator()(const ListTransactions& list) const {
    writer.u32be(list.skip);
    write_counted(writer, list.client);
    return Opcode::list_transactions;
  }
  Opcode operator()(const ReadCertificate& read) const {
    writer.u32be(read.offset);
    return Opcode::read_certificate;
  }
  Opcode operator()(const OpenStep& open) const {
    writer.u8(static_cast<std::uint8_t>(open.step));
    write_counted(writer, open.client);
    writer.u64be(open.transaction);
    writer.u64be(open.data_bytes);
    writer.u64be(open.type.size());
    write_text(writer, open.type);
    writer.u64be(0);  // length of additional data, which no client sends
    return open.opcode_91 ? Opcode::open_step_91 : Opcode::open_step;
  }
  Opcode operator()(const CloseStep& /*command*/) const { return Opcode::close_step; }
};

using Parsed = std::variant<Command, CommandStatus>;

/// A command that was read to its end, or the refusal.
template <typename T>
Parsed finished(const ByteReader& reader, T command) {
  if (!reader.finished()) return CommandStatus::syntax;
  return Command(std::move(command));
}

template <typename T>
Parsed user_command(const ByteReader& reader, std::uint8_t user, T command) {
  if (!reader.finished()) return CommandStatus::syntax;
  if (user != static_cast<std::uint8_t>(User::admin) &&
      user != static_cast<std::uint8_t>(User::time_admin)) {
    return CommandStatus::bad_parameter;
  }
  command.user = static_cast<User>(user);
  return Command(std::move(command));
}

template <typename T>
Parsed client_command(ByteReader& reader) {
  T command{read_counted(reader)};
  if (reader.ok() && command.client.size() > client_id_bytes) return CommandStatus::bad_parameter;
  return finished(reader, std::move(command));
}

Parsed parse_open(ByteReader& reader, bool opcode_91) {
  OpenStep open;
  open.opcode_91 = opcode_91;
  const std::uint8_t step = reader.u8();
  open.client = read_counted(reader);
  open.transaction = reader.u64be();
  open.data_bytes = reader.u64be();
  const std::uint64_t type_bytes = reader.u64be();
  if (!reader.ok() || type_bytes > reader.remaining()) return CommandStatus::syntax;
  open.type = text_of_bytes(reader.take(static_cast<std::size_t>(type_bytes)));
  const std::uint64_t additional_bytes = reader.u64be();
  if (!reader.finished()) return CommandStatus::syntax;
  if (step > static_cast<std::uint8_t>(Step::finish) || open.client.empty() ||
      open.client.size() > client_id_bytes || open.type.size() > process_type_bytes ||
      open.data_bytes > limits::tse_process_data_bytes || additional_bytes != 0) {
    return CommandStatus::bad_parameter;
  }
  open.step = static_cast<Step>(step);
  return Command(std::move(open));
}

}  // namespace

Bytes encode(const Command& command) {
  ByteWriter parameters;
  const Opcode opcode = std::visit(Writing{parameters}, command);
  const std::size_t size = opcode_bytes + parameters.size();
  assert(size <= most_command_bytes);
  ByteWriter writer(sector_bytes);
  writer.u16be(static_cast<std::uint16_t>(size));
  writer.u8(static_cast<std::uint8_t>(opcode));
  writer.u8(0);
  writer.bytes(parameters.view());
  writer.zeros(sector_bytes - writer.size());
  return writer.finish();
}

std::optional<CommandFrame> parse_frame(ByteView sector) {
  if (sector.size() != sector_bytes) return std::nullopt;
  ByteReader reader(sector);
  const std::uint16_t size = reader.u16be();
  if (size < opcode_bytes || size > most_command_bytes) return std::nullopt;
  CommandFrame frame;
  frame.bytes = sector.first(length_bytes + size);
  frame.opcode = reader.u8();
  reader.skip(1);
  frame.parameters = reader.take(size - opcode_bytes);
  return frame;
}

Parsed parse_command(const CommandFrame& frame) {
  ByteReader reader(frame.parameters);
  switch (static_cast<Opcode>(frame.opcode)) {
    case Opcode::login: {
      const std::uint8_t user = reader.u8();
      Login login;
      login.pin = read_counted(reader);
      return user_command(reader, user, std::move(login));
    }
    case Opcode::logout: {
      const std::uint8_t user = reader.u8();
      return user_command(reader, user, Logout{});
    }
    case Opcode::change_puk: {
      ChangePuk change;
      change.old_puk = read_counted(reader);
      change.new_puk = read_counted(reader);
      return finished(reader, std::move(change));
    }
    case Opcode::change_pin: {
      const std::uint8_t user = reader.u8();
      ChangePin change;
      change.old_pin = read_counted(reader);
      change.new_pin = read_counted(reader);
      return user_command(reader, user, std::move(change));
    }
    case Opcode::self_test:
      return client_command<SelfTest>(reader);
    case Opcode::register_client:
      return client_command<RegisterClient>(reader);
    case Opcode::deregister_client:
      return client_command<DeregisterClient>(reader);
    case Opcode::list_clients: {
      const ListClients list{reader.u32be()};
      return finished(reader, list);
    }
    case Opcode::enable_ctss:
      return finished(reader, EnableCtss{});
    case Opcode::disable_ctss:
      return finished(reader, DisableCtss{});
    case Opcode::initialize:
      return finished(reader, Initialize{});
    case Opcode::decommission:
      return finished(reader, Decommission{});
    case Opcode::set_time: {
      const SetTime time{reader.u64be()};
      return finished(reader, time);
    }
    case Opcode::fetch_answer:
      return finished(reader, FetchAnswer{});
    case Opcode::list_transactions: {
      ListTransactions list;
      list.skip = reader.u32be();
      list.client = read_counted(reader);
      return finished(reader, std::move(list));
    }
    case Opcode::read_certificate: {
      const ReadCertificate read{reader.u32be()};
      return finished(reader, read);
    }
    case Opcode::open_step:
      return parse_open(reader, false);
    case Opcode::open_step_91:
      return parse_open(reader, true);
    case Opcode::close_step:
      return finished(reader, CloseStep{});
  }
  return CommandStatus::unknown_command;
}

const char* name_of(Opcode opcode) {
  switch (opcode) {
    case Opcode::login:
      return "login";
    case Opcode::logout:
      return "logout";
    case Opcode::change_puk:
      return "change PUK";
    case Opcode::change_pin:
      return "change PIN";
    case Opcode::self_test:
      return "self test";
    case Opcode::register_client:
      return "register client";
    case Opcode::deregister_client:
      return "deregister client";
    case Opcode::list_clients:
      return "list clients";
    case Opcode::enable_ctss:
      return "enable the signing interface";
    case Opcode::disable_ctss:
      return "disable the signing interface";
    case Opcode::initialize:
      return "initialise";
    case Opcode::decommission:
      return "decommission";
    case Opcode::set_time:
      return "set time";
    case Opcode::fetch_answer:
      return "fetch answer";
    case Opcode::list_transactions:
      return "list open transactions";
    case Opcode::read_certificate:
      return "read certificate";
    case Opcode::open_step:
    case Opcode::open_step_91:
      return "open transaction step";
    case Opcode::close_step:
      return "close transaction step";
  }
  return "unknown command";
}

}  // namespace tillbridge::tse::swissbit
