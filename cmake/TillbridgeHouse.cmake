# What every target of the house has in common: warnings as errors, sanitizers, ccache, include root.

find_program(TILLBRIDGE_CCACHE ccache)
if(TILLBRIDGE_CCACHE)
  # The slackness is what ccache asks for before it caches what uses a precompiled header. Without the rest a build in another folder
  # (a second clone, a package's) would find nothing of what the first one compiled.
  set(tillbridge_ccache "${CMAKE_COMMAND}" -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_NOHASHDIR=1 "${TILLBRIDGE_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER ${tillbridge_ccache})
  set(CMAKE_C_COMPILER_LAUNCHER ${tillbridge_ccache})
endif()

add_library(tillbridge_house INTERFACE)
target_include_directories(tillbridge_house INTERFACE "${PROJECT_SOURCE_DIR}")
target_compile_options(tillbridge_house INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Wold-style-cast -Wcast-align -Wnull-dereference -Wformat=2
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-null-dereference>) # false positives of GCC 12 in std::variant and std::vector

set(TILLBRIDGE_TEST_OPTIONS "" CACHE STRING "Options for test code alone, e.g. -O0 to have it compiled sooner")
if(TILLBRIDGE_SANITIZE)
  add_compile_options(-fsanitize=${TILLBRIDGE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${TILLBRIDGE_SANITIZE})
  if(TILLBRIDGE_SANITIZE MATCHES undefined)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
  # Instrumented test code takes half of the build's time when it is optimised, and runs no faster to speak of. The checks left out
  # of it (never of a room) take a third of the rest, and what they would find in a test, ASan or the processor finds.
  set(TILLBRIDGE_TEST_OPTIONS -O0)
  if(TILLBRIDGE_SANITIZE MATCHES undefined)
    list(APPEND TILLBRIDGE_TEST_OPTIONS -fno-sanitize=null,alignment,vptr,object-size)
  endif()
endif()

# What is installed parses strangers' bytes: overflows end the program before they are of use to anybody. Sanitizers bring their own checks.
if(NOT TILLBRIDGE_SANITIZE AND NOT TILLBRIDGE_FUZZ)
  include(CheckPIESupported)
  check_pie_supported()
  add_compile_options(-fstack-protector-strong -fstack-clash-protection -D_GLIBCXX_ASSERTIONS
                      $<$<CONFIG:Release,RelWithDebInfo>:-U_FORTIFY_SOURCE$<SEMICOLON>-D_FORTIFY_SOURCE=3>)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    add_compile_options(-fcf-protection=full)
  elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    add_compile_options(-mbranch-protection=standard)
  endif()
  add_link_options(LINKER:-z,relro LINKER:-z,now LINKER:-z,noexecstack)
endif()

# The builds with sanitizers are most of a whole test run's time, so what nearly every file includes is compiled once there, for rooms
# and for tests. The other builds keep every file honest about what it includes.
if(TILLBRIDGE_SANITIZE AND NOT TILLBRIDGE_FUZZ)
  set(TILLBRIDGE_COMMON_HEADERS <algorithm> <array> <chrono> <cstdint> <deque> <filesystem> <functional> <map> <memory> <optional> <set>
      <span> <string> <string_view> <variant> <vector>)
  file(GENERATE OUTPUT common_headers.cpp CONTENT "// Only there to have something to compile.\n")
  add_library(tillbridge_room_headers STATIC EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/common_headers.cpp")
  target_link_libraries(tillbridge_room_headers PRIVATE tillbridge_house)
  target_precompile_headers(tillbridge_room_headers PRIVATE ${TILLBRIDGE_COMMON_HEADERS})
  if(TILLBRIDGE_TESTS)
    find_package(GTest REQUIRED)
    add_executable(tillbridge_test_headers EXCLUDE_FROM_ALL "${PROJECT_BINARY_DIR}/common_headers.cpp")
    target_link_libraries(tillbridge_test_headers PRIVATE tillbridge_house GTest::gtest GTest::gmock GTest::gtest_main)
    target_compile_options(tillbridge_test_headers PRIVATE ${TILLBRIDGE_TEST_OPTIONS})
    target_precompile_headers(tillbridge_test_headers PRIVATE ${TILLBRIDGE_COMMON_HEADERS} <fstream> <random> <gmock/gmock.h> <gtest/gtest.h>)
  endif()
endif()

# tillbridge_room(NAME SOURCES a.cpp b.cpp USES tillbridge::usb OpenSSL::SSL)
# One static library per room, named tillbridge_NAME, alias tillbridge::NAME.
function(tillbridge_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;PRIVATELY_USES" ${ARGN})
  add_library(tillbridge_${name} STATIC ${ROOM_SOURCES})
  add_library(tillbridge::${name} ALIAS tillbridge_${name})
  target_link_libraries(tillbridge_${name} PUBLIC tillbridge_house ${ROOM_USES} PRIVATE ${ROOM_PRIVATELY_USES})
  if(TARGET tillbridge_room_headers)
    target_precompile_headers(tillbridge_${name} REUSE_FROM tillbridge_room_headers)
    if(TILLBRIDGE_SANITIZE MATCHES thread)
      # GCC 12 warns of copies inside std::string once its header is precompiled and so none of the system's; the other builds look.
      target_compile_options(tillbridge_${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread>)
    endif()
  endif()
endfunction()

# tillbridge_test(NAME LABEL unit SOURCES x_test.cpp USES tillbridge::usb)
# One GoogleTest program; every TEST becomes a ctest entry with the label. PREFIX: in front of their names, where two programs are
# built of the same tests.
function(tillbridge_test name)
  if(NOT TILLBRIDGE_TESTS)
    return()
  endif()
  cmake_parse_arguments(TEST "" "LABEL;PREFIX" "SOURCES;USES" ${ARGN})
  find_package(GTest REQUIRED)
  include(GoogleTest)
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE tillbridge_house ${TEST_USES} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_options(${name} PRIVATE ${TILLBRIDGE_TEST_OPTIONS})
  # Only where it is used: a path of this machine in every command line would hide them all from other clones' ccache.
  foreach(source ${TEST_SOURCES})
    file(STRINGS "${source}" uses REGEX TILLBRIDGE_SOURCE_DIR LIMIT_COUNT 1)
    if(uses)
      set_source_files_properties("${source}" PROPERTIES COMPILE_DEFINITIONS "TILLBRIDGE_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
    endif()
  endforeach()
  if(TARGET tillbridge_test_headers)
    target_precompile_headers(${name} REUSE_FROM tillbridge_test_headers)
  endif()
  set(timeout_s 600)
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    set(timeout_s 3000)  # another architecture's code, emulated instruction by instruction
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${TEST_PREFIX}" PROPERTIES LABELS ${TEST_LABEL} TIMEOUT ${timeout_s} DISCOVERY_TIMEOUT 120)
endfunction()

# tillbridge_fuzz(NAME SOURCES x_fuzz.cpp USES tillbridge::rdpeusb)
# With TILLBRIDGE_FUZZ (clang): a libFuzzer program. Always: a replayer of tests/fuzz/corpus/NAME and
# tests/fuzz/regressions/NAME, so that every found crash stays a test with every compiler.
function(tillbridge_fuzz name)
  cmake_parse_arguments(FUZZ "" "" "SOURCES;USES" ${ARGN})
  if(TILLBRIDGE_FUZZ)
    add_executable(${name} ${FUZZ_SOURCES})
    target_link_libraries(${name} PRIVATE tillbridge_house ${FUZZ_USES})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endif()
  if(TILLBRIDGE_TESTS)
    add_executable(${name}_replay ${FUZZ_SOURCES} "${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp")
    target_link_libraries(${name}_replay PRIVATE tillbridge_house ${FUZZ_USES})
    target_compile_options(${name}_replay PRIVATE ${TILLBRIDGE_TEST_OPTIONS})
    add_test(NAME fuzz.${name} COMMAND ${name}_replay
             "${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}" "${PROJECT_SOURCE_DIR}/tests/fuzz/regressions/${name}")
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 600)
  endif()
endfunction()
