# Third-party libraries, all as SYSTEM includes so that the house's warnings judge the house's code only.
#
# hiredis (>= 1.2, with TLS) and llhttp (>= 9) are looked for in .deps first, where `./dev` unpacks Debian 13's packages
# on Debian 12, then in the system. Their static archives are preferred: the binary then runs on a machine that has
# neither, and needs no RUNPATH into the checkout.
add_library(kamiyo_dependencies INTERFACE)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)

set(deps_root "${CMAKE_SOURCE_DIR}/.deps/usr")
file(GLOB deps_libraries "${deps_root}/lib/*-linux-*" "${deps_root}/lib")

# kamiyo_find(<name> <header> <library>...): an imported interface library kamiyo::<name>, or a fatal error that names it.
function(kamiyo_find name header)
    find_path(${name}_INCLUDE_DIR ${header} HINTS "${deps_root}/include")
    set(libraries "")
    foreach(library IN LISTS ARGN)
        find_library(${library}_LIBRARY NAMES ${library} HINTS ${deps_libraries})
        list(APPEND libraries "${${library}_LIBRARY}")
        mark_as_advanced(${library}_LIBRARY)
    endforeach()
    mark_as_advanced(${name}_INCLUDE_DIR)
    if(NOT ${name}_INCLUDE_DIR OR libraries MATCHES "NOTFOUND")
        message(FATAL_ERROR "${name} is missing (${header}, ${ARGN}): run ./dev build, which installs what the build needs")
    endif()
    add_library(kamiyo::${name} INTERFACE IMPORTED)
    set_target_properties(kamiyo::${name} PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}"
        INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${${name}_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "${libraries}")
endfunction()

# kamiyo_require(<name> <header> <macro prefix> <at least>): reads <prefix>_MAJOR and <prefix>_MINOR of an installed header.
function(kamiyo_require name header prefix minimum)
    file(STRINGS "${${name}_INCLUDE_DIR}/${header}" lines REGEX "#define ${prefix}(MAJOR|MINOR) ")
    string(REGEX REPLACE ".*MAJOR ([0-9]+).*" "\\1" major "${lines}")
    string(REGEX REPLACE ".*MINOR ([0-9]+).*" "\\1" minor "${lines}")
    if("${major}.${minor}" VERSION_LESS "${minimum}")
        message(FATAL_ERROR "${name} ${major}.${minor} found in ${${name}_INCLUDE_DIR}; at least ${minimum} is needed. "
            "On Debian 12, ./dev build unpacks Debian 13's package into .deps")
    endif()
endfunction()

kamiyo_find(event event2/event.h event_core)
kamiyo_find(yaml yaml.h yaml)
kamiyo_find(jansson jansson.h jansson)
set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
kamiyo_find(hiredis hiredis/hiredis_ssl.h hiredis_ssl hiredis)
kamiyo_find(llhttp llhttp.h llhttp)
set(CMAKE_FIND_LIBRARY_SUFFIXES .so .a)
kamiyo_require(hiredis hiredis/hiredis.h HIREDIS_ 1.2)
kamiyo_require(llhttp llhttp.h LLHTTP_VERSION_ 9.0)

target_link_libraries(kamiyo_dependencies INTERFACE
    kamiyo::hiredis kamiyo::llhttp kamiyo::event kamiyo::yaml kamiyo::jansson OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
