// peer_usbredir_load: the load of peer_bench as the guest's end of usbredir's protocol (see
// peer_load.hpp), with its own library for the wire, as QEMU uses it. The host's end is
// peer_usbredir_host.
//
//   peer_usbredir_load PORT          on loopback
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <variant>

#include <usbredirparser.h>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "channel/usb/device_reader.hpp"
#include "channel/usb/requests.hpp"
#include "tests/bench/peer_load.hpp"

namespace tillbridge::bench {
namespace {

/// Descriptors are read before the load knows the stick, so its ids cannot meet this one.
constexpr usb::TransferId reading_id = 1;
constexpr std::uint8_t direction_in = 0x80;

usb::TransferStatus status_of(std::uint8_t status) {
  switch (status) {
    case usb_redir_success:
      return usb::TransferStatus::success;
    case usb_redir_cancelled:
      return usb::TransferStatus::cancelled;
    case usb_redir_stall:
      return usb::TransferStatus::stall;
    case usb_redir_timeout:
      return usb::TransferStatus::timeout;
    case usb_redir_babble:
      return usb::TransferStatus::overflow;
    default:
      return usb::TransferStatus::error;
  }
}

class UsbredirStick final : public PeerStick {
 public:
  UsbredirStick(transport::Loop& loop, std::uint16_t port)
      : loop_(loop), port_(port), parser_(usbredirparser_create()) {
    if (!parser_) throw std::bad_alloc();
    parser_->priv = this;
    parser_->log_func = [](void* /*self*/, int level, const char* text) {
      if (level <= usbredirparser_warning) std::cerr << text << '\n';
    };
    parser_->read_func = [](void* self, std::uint8_t* data, int count) {
      return of(self).take_received({data, static_cast<std::size_t>(count)});
    };
    parser_->write_func = [](void* self, std::uint8_t* data, int count) {
      const std::span<const std::uint8_t> bytes(data, static_cast<std::size_t>(count));
      of(self).host_->write(Bytes(bytes.begin(), bytes.end()));
      return count;
    };
    parser_->device_connect_func = [](void* self, usb_redir_device_connect_header* /*device*/) {
      of(self).connected();
    };
    parser_->device_disconnect_func = [](void* /*self*/) {
      throw std::runtime_error("the host took the stick away");
    };
    parser_->configuration_status_func = [](void* self, std::uint64_t id,
                                            usb_redir_configuration_status_header* header) {
      of(self).ended(id, header->status, 0, nullptr, 0);
    };
    parser_->control_packet_func = [](void* self, std::uint64_t id,
                                      usb_redir_control_packet_header* header, std::uint8_t* data,
                                      int size) {
      of(self).ended(id, header->status, header->length, data, size);
    };
    parser_->bulk_packet_func = [](void* self, std::uint64_t id,
                                   usb_redir_bulk_packet_header* header, std::uint8_t* data,
                                   int size) {
      const std::uint32_t length = std::uint32_t{header->length_high} << 16U | header->length;
      of(self).ended(id, header->status, length, data, size);
    };
    // What every host tells of itself, and nobody here needs.
    parser_->hello_func = [](void* /*self*/, usb_redir_hello_header* /*hello*/) {};
    parser_->interface_info_func = [](void* /*self*/, usb_redir_interface_info_header* /*info*/) {};
    parser_->ep_info_func = [](void* /*self*/, usb_redir_ep_info_header* /*info*/) {};
  }

  void start(Events events) override {
    events_ = std::move(events);
    connecting_ = transport::connect(loop_, "127.0.0.1", port_, std::nullopt, "",
                                     [this](Result<std::unique_ptr<transport::Stream>> host) {
                                       if (!host) throw std::runtime_error(host.error().message);
                                       begin(std::move(*host));
                                     });
  }

  void submit(usb::Transfer transfer) override {
    const int size = static_cast<int>(transfer.data.size());
    std::uint8_t* data = transfer.data.empty() ? nullptr : transfer.data.data();
    if (transfer.type == usb::TransferType::control) {
      submit_control(transfer, data, size);
    } else {
      usb_redir_bulk_packet_header header{};
      header.endpoint = transfer.endpoint;
      header.length = static_cast<std::uint16_t>(transfer.length);
      header.length_high = static_cast<std::uint16_t>(transfer.length >> 16U);
      usbredirparser_send_bulk_packet(parser_.get(), transfer.id, &header, data, size);
    }
    usbredirparser_do_write(parser_.get());
  }

 private:
  struct Destroy {
    void operator()(usbredirparser* parser) const { usbredirparser_destroy(parser); }
  };

  static UsbredirStick& of(void* self) { return *static_cast<UsbredirStick*>(self); }

  void begin(std::unique_ptr<transport::Stream> host) {
    host_ = std::move(host);
    host_->start({.received =
                      [this](ByteView bytes) {
                        received_ = bytes;
                        if (usbredirparser_do_read(parser_.get()) ==
                            usbredirparser_read_parse_error)
                          throw std::runtime_error("the host broke the protocol");
                      },
                  .drained = [] {},
                  .closed =
                      [](const std::optional<Error>& /*error*/) {
                        throw std::runtime_error("the host closed the connection");
                      }});
    // As QEMU's guest end, less what is of no use for mass storage at high speed.
    std::array<std::uint32_t, USB_REDIR_CAPS_SIZE> capabilities{};
    for (const int capability :
         {usb_redir_cap_connect_device_version, usb_redir_cap_ep_info_max_packet_size,
          usb_redir_cap_64bits_ids, usb_redir_cap_32bits_bulk_length})
      usbredirparser_caps_set_cap(capabilities.data(), capability);
    usbredirparser_init(parser_.get(), "tillbridge peer_bench", capabilities.data(),
                        USB_REDIR_CAPS_SIZE, 0);
    usbredirparser_do_write(parser_.get());
  }

  int take_received(std::span<std::uint8_t> into) {
    const std::size_t count = std::min(into.size(), received_.size());
    std::copy_n(received_.begin(), count, into.begin());
    received_ = received_.subspan(count);
    return static_cast<int>(count);
  }

  void connected() {
    reader_.emplace(usb::Speed::high, "usbredir");
    read_next();
  }

  void read_next() {
    if (auto transfer = reader_->next(reading_id)) return submit(std::move(*transfer));
    const auto description = reader_->result();
    if (!description) throw std::runtime_error(description.error().message);
    reader_.reset();
    events_.ready(*description);
  }

  void submit_control(const usb::Transfer& transfer, std::uint8_t* data, int size) {
    const usb::SetupPacket& setup = transfer.setup;
    if (const auto host_request = usb::as_host_request(setup)) {
      const auto* wanted = std::get_if<usb::SetConfiguration>(&*host_request);
      if (wanted == nullptr) throw std::runtime_error("a request that this load never makes");
      usb_redir_set_configuration_header header{wanted->value};
      usbredirparser_send_set_configuration(parser_.get(), transfer.id, &header);
      return;
    }
    usb_redir_control_packet_header header{};
    header.endpoint = setup.in() ? direction_in : 0;
    header.request = setup.request;
    header.requesttype = setup.request_type;
    header.value = setup.value;
    header.index = setup.index;
    header.length = setup.length;
    usbredirparser_send_control_packet(parser_.get(), transfer.id, &header, data, size);
  }

  /// `data` is the parser's, to be given back.
  void ended(std::uint64_t id, std::uint8_t status, std::uint32_t length, std::uint8_t* data,
             int size) {
    usb::Completion completion;
    completion.id = static_cast<usb::TransferId>(id);
    completion.status = status_of(status);
    completion.actual_length = length;
    if (data != nullptr) {
      const std::span<const std::uint8_t> bytes(data, static_cast<std::size_t>(size));
      completion.data.assign(bytes.begin(), bytes.end());
      usbredirparser_free_packet_data(parser_.get(), data);
    }
    if (reader_) {
      reader_->complete(completion);
      return read_next();
    }
    events_.completed(std::move(completion));
  }

  transport::Loop& loop_;
  std::uint16_t port_;
  Events events_;
  std::unique_ptr<usbredirparser, Destroy> parser_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> host_;
  ByteView received_;
  std::optional<usb::DeviceReader> reader_;
};

}  // namespace
}  // namespace tillbridge::bench

int main(int argc, char** argv) {
  using namespace tillbridge;
  try {
    const auto arguments = std::span(argv, static_cast<std::size_t>(argc)).subspan(1);
    const std::string_view text = arguments.size() == 1 ? arguments[0] : "";
    std::uint16_t port = 0;
    if (std::from_chars(text.begin(), text.end(), port).ptr != text.end() || port == 0)
      throw std::runtime_error("peer_usbredir_load PORT");
    transport::Loop loop;
    bench::UsbredirStick stick(loop, port);
    bench::PeerLoad(loop, stick).run();
  } catch (const std::exception& error) {
    std::cerr << "peer_usbredir_load: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
