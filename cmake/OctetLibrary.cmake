# The library: quant/ and lib/ on top of the kernels, one target octet::octet.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
# target=module: octet links to PkgConfig::target, and octetConfig.cmake makes it again for users.
set(octet_pkg_config_libraries openblas=openblas pcre2=libpcre2-8 utf8proc=libutf8proc)
if(OCTET_SENTENCEPIECE)
  list(APPEND octet_pkg_config_libraries sentencepiece=sentencepiece)
endif()
set(octet_dependencies Threads::Threads)
foreach(library ${octet_pkg_config_libraries})
  string(REPLACE "=" ";" library ${library})
  list(GET library 0 name)
  list(GET library 1 module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
  list(APPEND octet_dependencies PkgConfig::${name})
endforeach()
if(OCTET_CUDA STREQUAL "ON")
  list(APPEND octet_dependencies CUDA::cudart_static)
endif()

file(GLOB_RECURSE octet_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/lib/*.cpp
     ${PROJECT_SOURCE_DIR}/quant/*.cpp)
list(FILTER octet_sources EXCLUDE REGEX "/lib/backends/cuda/")
if(OCTET_CUDA)
  list(FILTER octet_sources EXCLUDE REGEX "/no_cuda.cpp$")
endif()
add_library(octet_objects OBJECT ${octet_sources})
target_include_directories(octet_objects PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(
  octet_objects PRIVATE OCTET_SENTENCEPIECE=$<BOOL:${OCTET_SENTENCEPIECE}>
                        OCTET_VERSION="${PROJECT_VERSION}")
target_link_libraries(octet_objects PRIVATE ${octet_dependencies} octet_flags
                                            nlohmann_json::nlohmann_json)
# As in the kernels: processors with and without fma give the same bits.
target_compile_options(octet_objects PRIVATE -ffp-contract=off)
if(OCTET_SANITIZE)
  # Calibration and GPTQ are loops over matrices: with -O1 the tests of convert take minutes.
  target_compile_options(octet_objects PRIVATE -O2)
endif()

# octet_library(<name> <type>): a library of all objects. BUILD_SHARED_LIBS decides which one is
# installed; the tests link the static one, which alone shows what the headers do not declare, and
# look into the shared one.
set(octet_symbols ${PROJECT_SOURCE_DIR}/lib/c/symbols.map)
function(octet_library name type)
  add_library(${name} ${type} EXCLUDE_FROM_ALL $<TARGET_OBJECTS:octet_objects>
                                               $<TARGET_OBJECTS:octet_kernels>)
  if(OCTET_CUDA)
    target_sources(${name} PRIVATE $<TARGET_OBJECTS:octet_cuda>)
  endif()
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                            $<INSTALL_INTERFACE:include>)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_link_libraries(${name} PRIVATE ${octet_dependencies})
  set_target_properties(${name} PROPERTIES
                        OUTPUT_NAME octet EXPORT_NAME octet LINKER_LANGUAGE CXX
                        VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  if(type STREQUAL "SHARED")
    target_link_options(${name} PRIVATE LINKER:--version-script=${octet_symbols})
    set_target_properties(${name} PROPERTIES LINK_DEPENDS ${octet_symbols})
  endif()
endfunction()
octet_library(octet_static STATIC)
octet_library(octet_shared SHARED)
set(octet_library octet_static)
if(BUILD_SHARED_LIBS)
  set(octet_library octet_shared)
endif()
set_target_properties(${octet_library} PROPERTIES EXCLUDE_FROM_ALL FALSE)
add_library(octet ALIAS ${octet_library})
add_library(octet::octet ALIAS ${octet_library})
